"""What the pages show works as it stands there, and points to files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CARDS = sorted((ROOT / "stmga" / "weights").glob("*/README.md"))


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "blocks.md"], ids=lambda p: p.name)
def test_the_block_example_runs_and_ends_in_a_vector_a_clip(page):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    (code,) = [b for b in blocks if "from stmga import CPA" in b]
    names: dict = {}
    exec(code, names)
    assert names["z"].shape == (2, 256)


def test_the_five_lines_run(tmp_path, monkeypatch):
    from stmga.data import write_walkers

    (code,) = [b for b in re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.DOTALL) if "crops/" in b]
    monkeypatch.chdir(tmp_path)
    write_walkers("crops", 2)
    assert "pretrained=True" in code
    exec(code, names := {})  # as they stand: the weights are in the package
    assert len(names["matches"]) == 4
    assert [len(found) for found in names["matches"]] == [3] * 4


def test_no_placeholder_is_left():
    assert [page.name for page in PAGES if "@@" in page.read_text()] == []


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_row_of_a_table_has_the_cells_of_its_header(page):
    ragged, cells = [], 0
    for line in page.read_text().splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        found = len(re.sub(r"`[^`]*`", "", line).replace("\\|", "").split("|"))
        cells = cells or found
        if found != cells or not line.rstrip().endswith("|"):
            ragged.append(line)
    assert ragged == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_the_page_of_a_block_says_its_shapes_and_its_source():
    for name in ("cpa", "mapa", "stripes", "lsta", "mga"):
        text = (ROOT / "docs" / f"{name}.md").read_text()
        assert "->" in text
        assert re.search(r"[Ee]quation|Table", text)
