"""One HTML file with its data, style and script inside. Needs Jinja2 (`pip install "stmga[report]"`)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from stmga.utils.files import atomic_write
from stmga.utils.foreign import open_regular

TEMPLATES = Path(__file__).parent / "templates"
MARK = "stmga-report"  # the meta element that says what a page was made from
HEAD = 4096  # bytes in which the mark is
SCRIPTS = {"people": ("common.js", "people.js", "detail.js"), "search": ("common.js", "search.js")}


def require_jinja() -> Any:
    """Jinja2; `ImportError` with what to install."""
    try:
        import jinja2
    except ImportError as error:
        raise ImportError('the report needs Jinja2: pip install "stmga[report]"') from error
    return jinja2


def render(template: str, data: str, **names: Any) -> str:
    """The page of a template, with ``data`` for its script, from :func:`in_script`.

    Ids and labels are untrusted: the JSON has no ``<``, ``>`` or ``&``, and the script makes text nodes of it. The
    page's policy allows the style and the script by their digests, pictures of its own folder, and nothing else.
    """
    jinja2 = require_jinja()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    style = _read("report.css")
    script = "\n".join(map(_read, SCRIPTS[template]))
    page: str = environment.get_template(f"{template}.html.j2").render(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=data,
        mark=MARK,
        **names,
    )
    return page


def in_script(data: Any) -> str:
    r"""JSON in ASCII that cannot end a script element or begin a comment.

    >>> in_script({"id": "</script><!--"})
    '{"id":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def check_page(path: Path) -> str:
    """What an existing page was made from; "" if there is none.

    Raises:
        ValueError: there is a file that is not such a page.
    """
    if not path.exists():
        return ""
    with open_regular(path) as file:
        head = file.read(HEAD).decode("utf-8", "replace")
    found = re.search(rf'<meta name="{MARK}" content="([0-9a-f]+)">', head)
    if found is None:
        raise ValueError(f"{path} was not written by stmga; name another folder, or move that file away")
    return found[1]


def write_page(path: Path, page: str) -> None:
    """Write the page whole or not at all."""
    atomic_write(path, page.encode())


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _hash(text: str) -> str:
    """The digest by which a page's policy allows an element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
