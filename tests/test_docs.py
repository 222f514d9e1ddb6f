"""What the pages show works as it stands there, and points to files that exist."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CARDS = sorted((ROOT / "stmga" / "weights").glob("*/README.md"))


def generated() -> dict[str, str]:
    """The pages that the documentation's build writes from the code, path below docs/ -> text."""
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


MADE = generated()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "method" / "blocks.md"], ids=lambda p: p.name)
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
    assert ragged_rows(page.read_text()) == []


def ragged_rows(text: str) -> list[str]:
    ragged, cells = [], 0
    for line in text.splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        found = len(re.sub(r"`[^`]*`", "", line).replace("\\|", "").split("|"))
        cells = cells or found
        if found != cells or not line.rstrip().endswith("|"):
            ragged.append(line)
    return ragged


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    made = [os.path.relpath(ROOT / "docs" / path, page.parent) for path in MADE]
    assert [t for t in targets if not (page.parent / t).exists() and os.path.normpath(t) not in made] == []


def test_every_command_has_a_page_with_all_its_options():
    from stmga.cli.main import COMMANDS

    pages = {path: text for path, text in MADE.items() if path.startswith("reference/commands/")}
    assert set(pages) == {f"reference/commands/{name}.md" for name in [*COMMANDS, "index"]}
    assert "`--layout LAYOUT`" in pages["reference/commands/embed.md"]
    assert '"{person}/{camera}/{tracklet}"'.replace("{", "&#123;") in pages["reference/commands/embed.md"]
    assert "stmga search queries.safetensors" in pages["reference/commands/search.md"]


def test_the_table_of_weights_has_every_weight_with_the_figures_of_its_record():
    import stmga

    table = MADE["reference/weights/index.md"]
    for name in stmga.list_weights():
        (row,) = [line for line in table.splitlines() if f"[`{name}`]" in line]
        record = stmga.get_weights(name)
        assert f"| {record.metrics[0]['mAP']} | {record.metrics[0]['rank-1']} |" in row
        assert record.megabytes.replace(" ", "&nbsp;") in row
        assert record.terms in MADE[f"reference/weights/{name}.md"]


@pytest.mark.parametrize("path", MADE)
def test_every_row_of_a_generated_table_has_the_cells_of_its_header(path):
    assert ragged_rows(MADE[path]) == []


def test_the_page_of_a_block_says_its_shapes_and_its_source():
    for name in ("cpa", "mapa", "stripes", "lsta", "mga"):
        text = (ROOT / "docs" / "method" / f"{name}.md").read_text()
        assert "->" in text
        assert re.search(r"[Ee]quation|Table", text)
