"""The examples on the pages work as printed, and links point to files that exist."""

import importlib
import importlib.util
import os
import re
import shlex

import pytest
import torch

import stmga
from stmga.cli.main import build_parser
from stmga.utils.cost import gmac, parameters
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CARDS = sorted((ROOT / "stmga" / "weights").glob("*/README.md"))
README = PAGES[0].read_text()
EXAMPLES = [*PAGES, *sorted((ROOT / "examples").glob("*")), *sorted((ROOT / "stmga" / "cli").glob("*.py"))]


def code_of(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_readme_fits_on_one_screen():
    lines = README.splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 160] == []


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

    (code,) = [b for b in code_of(README, "python") if "crops/" in b]
    monkeypatch.chdir(tmp_path)
    write_walkers("crops", 2)
    assert "pretrained=True" in code
    exec(code, names := {})  # unchanged: the weights are in the package
    assert len(names["matches"]) == 4
    assert [len(found) for found in names["matches"]] == [3] * 4


def test_help_begins_with_the_five_lines_of_the_readme():
    (code,) = [b for b in code_of(README, "python") if "crops/" in b]
    shown = [line.split("  #")[0].strip() for line in stmga.__doc__.splitlines()]
    wanted = [line.split("  #")[0].strip() for line in code.splitlines() if line]
    start = shown.index(wanted[0])
    assert [line for line in shown[start : start + 6] if line] == wanted


def test_help_names_only_what_exists():
    missing = []
    for name in re.findall(r"``([\w.]+)(?:\(.*?\))?``", stmga.__doc__):
        try:
            resolve(name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name}: {error}")
    assert missing == []
    assert len(re.findall(r"``", stmga.__doc__)) > 30


def resolve(name: str) -> object:
    """The object of a dotted name below stmga."""
    found: object = stmga
    for part in name.removeprefix("stmga").strip(".").split("."):
        if part and not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part) if part else found
    return found


def test_the_table_of_weights_says_what_the_records_say():
    """Columns: name, input, parameters, GMAC, file, mAP, rank-1, time; the last two costs are of 8 frames."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines() if line.startswith("| `")]
    wanted = []
    for name in stmga.list_weights():
        record = stmga.get_weights(name)
        config, score, speed = record.config, record.metrics[0], record.speed[0]
        assert score["data"].startswith("mars8-dev")
        assert speed["what"].startswith("network alone")
        assert any(kind in speed["processor"] for kind in ("Xeon", "EPYC"))
        assert speed["threads"] == 2
        shape = " x ".join(map(str, (config.clip_length, *config.size)))
        model = stmga.STMGA(config).eval()
        with torch.inference_mode():
            work = gmac(model, torch.rand(1, config.clip_length, 3, *config.size))
        wanted.append([
            f"`{name}`",
            shape,
            f"{parameters(model) / 1e6:.1f} M",
            f"{work * 8 / config.clip_length:.1f}",
            f"{record.file_size / 1e6:.1f} MB",
            f"{score['mAP']:.1f}",
            f"{score['rank-1']:.1f}",
            f"{8000 / speed['frames/s']:.0f} ms",
        ])  # fmt: skip
    assert rows == wanted


def test_contributing_names_files_that_exist():
    """Every path in backticks that begins in the tree; `<name>` and capitals stand for what is added."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:stmga|tests|docs|benchmarks|examples)/[\w./*]*|\w+\.(?:md|toml|py|cff))`", text)
    assert len(paths) > 40
    placeholders = {"config.json", "log.jsonl"}  # of a weight's folder
    inside = {p for p in paths if not re.search(r"[A-Z]{4}/", p)} - placeholders
    places = [ROOT, ROOT / "stmga"]
    assert sorted(p for p in inside if not any(list(place.glob(p.rstrip("/"))) for place in places)) == []


def test_every_page_names_the_version_of_the_package():
    """So that a release leaves no older one behind."""
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [stmga.__version__]
    for page in (ROOT / "README.md", ROOT / "examples" / "04_torch_hub.py"):
        found = set(re.findall(r"stmga[:-]v?(\d+\.\d+\.\d+)", page.read_text()))
        assert found == {stmga.__version__}, page.name


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda p: str(p.relative_to(ROOT)))
def test_crops_is_one_folder_for_each_tracklet_and_labelled_has_persons_and_cameras(page):
    """`crops/` needs no layout, `labelled/` always the same one."""
    text = page.read_text().replace("\\\n", " ")
    labelled_crops = r"""\bcrops/? .*--layout|["']crops/?["'], layout=|crops/\{(?!tracklet\})"""
    wrong = [line for line in text.splitlines() if re.search(labelled_crops, line)]
    for line in text.splitlines():
        if re.search(r"\blabelled/? |\"labelled\"", line) and "layout" in line:
            wrong += [line] if '"{person}/{camera}/{tracklet}"' not in line else []
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_are_spelled_as_the_parser_reads_them(page):
    """Every `stmga ...` line of a shell block; `...` stands for what a page leaves out."""
    parser, read = build_parser(), 0
    for block in code_of(page.read_text(), "(?:sh|bash)"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            start = next((i + 1 for i, word in enumerate(words) if word == "stmga"), None)
            if start and words[0] in ("stmga", "torchrun") and not {"...", "$D"} & set(words):
                parser.parse_args(words[start:])
                read += 1
    assert read or page.name != "README.md"


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
        assert record.terms in " ".join(MADE[f"reference/weights/{name}.md"].split())


@pytest.mark.parametrize("path", MADE)
def test_every_row_of_a_generated_table_has_the_cells_of_its_header(path):
    assert ragged_rows(MADE[path]) == []


def test_the_page_of_a_block_says_its_shapes_and_its_source():
    for name in ("cpa", "mapa", "stripes", "lsta", "mga"):
        text = (ROOT / "docs" / "method" / f"{name}.md").read_text()
        assert "->" in text
        assert re.search(r"[Ee]quation|Table", text)
