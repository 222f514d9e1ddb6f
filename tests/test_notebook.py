"""examples/quickstart.ipynb is a valid notebook without outputs, and uses public names alone; `.ci/run` executes it."""

import ast
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb"
BOOK = json.loads(FILE.read_text("utf-8"))
CELLS = [cell for cell in BOOK["cells"] if cell["cell_type"] == "code"]
TREE = ast.parse("\n".join("".join(cell["source"]) for cell in CELLS))


def public(module: str) -> set[str]:
    found = importlib.import_module(module)
    return set(getattr(found, "__all__", None) or (name for name in vars(found) if not name.startswith("_")))


def used_names() -> Iterator[tuple[str, str]]:
    """Module and name of everything of stmga that the cells import, or reach by ``stmga.name``."""
    for node in ast.walk(TREE):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "stmga":
            yield "stmga", node.attr


def test_it_is_a_valid_notebook():
    nbformat = pytest.importorskip("nbformat", reason='needs nbformat: pip install ".[test]"')
    nbformat.validate(nbformat.from_dict(BOOK))


def test_its_outputs_are_cleared():
    assert [cell["id"] for cell in CELLS if cell["outputs"] or cell["execution_count"] is not None] == []


def test_its_cells_use_public_names_alone():
    used = list(used_names())
    assert {"create_model", "render_walkers", "ranked_picture", "part_overlay", "train"} <= {name for _, name in used}
    assert [(module, name) for module, name in used if name not in public(module)] == []
    private = [n.attr for n in ast.walk(TREE) if isinstance(n, ast.Attribute) and n.attr.startswith("_")]
    assert private == []
    deep = [module for module, _ in used if module.count(".") > 1]  # stmga.data, not stmga.data.walkers.render
    assert deep == []


def test_its_links_lead_to_files():
    text = "".join("".join(cell["source"]) for cell in BOOK["cells"] if cell["cell_type"] == "markdown")
    assert "](../README.md)" in text
    assert (FILE.parent / "../README.md").is_file()
