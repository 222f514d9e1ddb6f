"""The documentation site builds strictly, works in a browser, and asks no other host for anything."""

import functools
import http.server
import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support import chromium
from tests.support.paths import ROOT

needs_docs = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml")),
    reason='the site needs pip install ".[docs]"',
)
needs_chromium = pytest.mark.skipif(
    chromium.find() is None or importlib.util.find_spec("websocket") is None,
    reason="needs chromium (apt-get install chromium) and the extra docs",
)
pytestmark = [needs_docs, pytest.mark.slow]
SETTINGS = """\
INHERIT: {root}/mkdocs.yml
docs_dir: {docs}
hooks: []
extra_css: []
plugins: [search, mkdocstrings]
nav: [{nav}]
"""


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; $STMGA_SITE names one that is built already, as `.ci/run` has."""
    if built := os.environ.get("STMGA_SITE"):
        return Path(built)
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def browser(tmp_path):
    browser = chromium.Chromium(tmp_path / "profile")
    yield browser
    browser.close()


@needs_chromium
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_the_site_works_in_a_browser_and_asks_no_other_host(address, browser, width, height):
    browser.size(width, height)
    for page, heading in (("", "stmga"), ("reference/api/blocks/", "Blocks"), ("method/cpa/", "CPA")):
        browser.open(address + page)
        assert heading in browser.value("document.querySelector('h1').innerText")
        # the page itself never scrolls sideways; wide tables and code scroll on their own
        assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.querySelectorAll('.equation math').length") >= 5
    browser.value("document.querySelector('[data-md-toggle=search]').click()")
    browser.value("(i => { i.focus(); i.value = 'threshold'; i.dispatchEvent(new Event('input', {bubbles: true})); "
                  "i.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})) })"
                  "(document.querySelector('.md-search__input'))")  # fmt: skip
    browser.until("document.querySelectorAll('.md-search-result__item a').length > 0")
    found = browser.value("[...document.querySelectorAll('.md-search-result__item a')].map(a => a.href)")
    assert any("train/evaluation/" in link for link in found)
    assert browser.errors == []
    assert any("search_index.json" in asked for asked in browser.requests)
    assert [asked for asked in browser.requests if not asked.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize(
    ("text", "nav", "says"),
    [
        (
            "[there](other.md#here) [a][stmga.zoo.create_model]\n\n::: stmga.zoo.create_model",
            "index.md, other.md",
            None,
        ),
        ("[there](nowhere.md)", "index.md, other.md", "nowhere.md"),
        ("[there](other.md#nowhere)", "index.md, other.md", "#nowhere"),
        ("[there][stmga.nothing]", "index.md, other.md", "stmga.nothing"),
        ("::: stmga.zoo.nothing", "index.md, other.md", "stmga.zoo.nothing"),
        ("text", "index.md, other.md, gone.md", "gone.md"),
        ("text", "index.md", "other.md"),
    ],
    ids=["fine", "no page", "no anchor", "no reference", "no object", "missing from docs", "missing from nav"],
)
def test_the_build_fails_over_what_leads_nowhere(tmp_path, text, nav, says):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "other.md").write_text("# Other\n\n## Here\n")
    (docs / "index.md").write_text(f"# Start\n\n{text}\n")
    (tmp_path / "mkdocs.yml").write_text(SETTINGS.format(root=ROOT, docs=docs, nav=nav))
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    output = done.stdout + done.stderr
    assert (done.returncode != 0) == (says is not None), output
    assert says is None or says in output
