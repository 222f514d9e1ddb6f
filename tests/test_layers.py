"""The structure of the package: which part may import which, without cycles, also inside functions."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "stmga"
# From top to bottom: each part may import the parts below it that its line names. "config" stands for the front modules
# that need nothing else of stmga: _version, config and calibration.
ALLOWED = {
    "__main__": "cli",
    "cli": "report train data people metrics gallery embedding deploy zoo model backbones hub transforms tracklets "
    "visualize config utils",
    "report": "people gallery embedding transforms tracklets visualize config utils",
    "stmga": "gallery embedding deploy zoo model backbones blocks hub transforms tracklets config",  # __init__.py
    "train": "data people metrics embedding model backbones blocks hub tracklets config utils",
    "data": "metrics tracklets utils",
    "trackers": "people metrics embedding tracklets config utils",
    "people": "metrics gallery embedding tracklets config utils",
    "gallery": "metrics embedding tracklets config utils",
    "metrics": "embedding config utils",
    "embedding": "deploy model hub transforms tracklets config utils",
    "deploy": "model blocks hub transforms tracklets config utils",
    "zoo": "model backbones hub transforms config utils",
    "model": "fuse backbones blocks hub transforms config utils",
    "fuse": "backbones utils",
    "hub": "transforms config utils",
    "backbones": "config utils",
    "blocks": "",
    "transforms": "tracklets utils",
    "tracklets": "utils",
    "visualize": "utils",
    "config": "utils",
    "utils": "",
}
FRONT = {"_version": "config", "calibration": "config", "features": "model", "checks": "model"}


def name_of(file: Path) -> str:
    parts = ["stmga", *file.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in PACKAGE.rglob("*.py")}


def part_of(module: str) -> str:
    first = module.split(".")[1] if "." in module else "stmga"
    return FRONT.get(first, first)


def imports_of(file: Path) -> Iterator[str]:
    """Modules of stmga that a file imports anywhere but for type checkers."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "stmga")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: write stmga.x instead of a relative import"
            if node.module and node.module.split(".")[0] == "stmga":
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                modules = [module for module in inside if module in MODULES]
                yield from modules or [node.module]


ARROWS = {module: set(imports_of(file)) for module, file in MODULES.items()}


@pytest.mark.parametrize("part", sorted({part_of(module) for module in MODULES}))
def test_every_part_imports_only_what_it_may(part):
    assert part in ALLOWED, f"{part} is new: say in ALLOWED, and in CONTRIBUTING.md, what it may import"
    found = {
        part_of(target): f"{module} imports {target}"
        for module, targets in ARROWS.items()
        if part_of(module) == part
        for target in targets
    }
    allowed = {part, *ALLOWED[part].split()}
    assert [arrow for target, arrow in found.items() if target not in allowed] == []


def test_the_parts_stand_in_order():
    """A part comes before all that it may import, so the table itself has no circle."""
    order = list(ALLOWED)
    upward = [
        (part, below) for part in order for below in ALLOWED[part].split() if order.index(below) <= order.index(part)
    ]
    assert upward == []


def test_no_module_imports_itself_by_way_of_others():
    reached: dict[str, set[str]] = {}

    def reach(module: str) -> set[str]:
        if module not in reached:
            reached[module] = set()  # a module that is reached again while open is in a cycle
            for target in ARROWS.get(module, ()):
                reached[module] |= {target} | reach(target)
        return reached[module]

    for module in MODULES:
        reached.clear()
        assert module not in reach(module), f"{module} imports itself by way of {sorted(ARROWS[module])}"


def test_a_newcomer_meets_few_modules():
    assert len(list(PACKAGE.glob("*.py"))) <= 13


def test_no_module_has_the_name_of_an_exported_function():
    import stmga

    assert [name for name in stmga.__all__ if f"stmga.{name}" in MODULES] == []


FILES = sorted(file for part in ("stmga", "benchmarks", "tests", "examples") for file in (ROOT / part).rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_are_short(file):
    """At most 300 lines in a file and 40 in a function, docstrings aside; a test may list as many cases as it likes."""
    text = file.read_text("utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("test_"):
            first = node.body[0]
            documented = ast.get_docstring(node) is not None
            docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
            assert (node.end_lineno or 0) - node.lineno + 1 - docstring <= 40, f"{node.name} is too long"
