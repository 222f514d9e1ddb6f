"""torch.hub as a user meets it: a clean process, another folder, the package not installed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stmga.config import ARCHITECTURES
from tests.support.paths import ROOT

ENTRIES = [*ARCHITECTURES, "transforms"]


# An editable install puts the repository on sys.path, a wheel puts stmga into site-packages: both are hidden, so that
# the package can come from torch.hub's folder alone.
NOT_INSTALLED = f"""
import pathlib, sys
sys.path = [p for p in sys.path if pathlib.Path(p or '.').resolve() != pathlib.Path({str(ROOT)!r})]
class NotInstalled:
    def find_spec(name, path=None, target=None):
        if name == 'stmga' and not any((pathlib.Path(p) / 'hubconf.py').is_file() for p in sys.path):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled)
try:
    import stmga
    raise SystemExit('stmga can be imported: the test tests nothing')
except ModuleNotFoundError:
    pass
"""


def run(code: str, cwd: Path, **variables: str) -> str:
    """What the code prints in a clean process where stmga is not installed."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HF_ENDPOINT")} | variables
    command = [sys.executable, "-c", NOT_INSTALLED + code]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_architecture_and_the_transforms_from_a_local_clone(tmp_path):
    code = f"""
import torch
for name in {list(ARCHITECTURES)}:
    model = torch.hub.load({str(ROOT)!r}, name, source="local")
    transform = torch.hub.load({str(ROOT)!r}, "transforms", name, source="local")
    assert type(model).__name__ == "STMGA" and model.training
    clip = transform(torch.zeros(2, 3, 64, 32, dtype=torch.uint8))
    assert clip.shape == (2, 3, *model.config.size)
    print(name, model.dim, model.eval()(clip[None, :, :, :64, :32]).shape)
trained = torch.hub.load({str(ROOT)!r}, "stmga_resnet18_c4", pretrained=True, source="local")
transform = torch.hub.load({str(ROOT)!r}, "transforms", "stmga_resnet18_c4", pretrained=True, source="local")
assert transform(torch.zeros(2, 3, 64, 32, dtype=torch.uint8)).shape[2:] == trained.config.size
try:
    torch.hub.load({str(ROOT)!r}, "stmga_resnet18_c4", source="local", weights="nonsense")
except ValueError as error:
    print(error)
model.eval().save_pretrained("mine")  # imports of the package after torch.hub has left sys.path
again = torch.hub.load({str(ROOT)!r}, name, source="local", weights="mine")
assert again.digest() == model.digest() and not again.training
import stmga
print(stmga.__file__)
"""
    out = run(code, tmp_path)
    for name in ARCHITECTURES:
        assert re.search(rf"^{name} (\d+) torch.Size\(\[1, \1\]\)$", out, re.M), out
    assert "no weights called 'stmga_resnet18_c4.nonsense'" in out
    assert str(ROOT) in out


@pytest.fixture
def cached_repository(tmp_path: Path) -> Path:
    """torch.hub's cache as it is after ``load("owner/stmga:v1", ...)`` has downloaded the repository."""
    hub = tmp_path / "torch" / "hub"
    repo = hub / "owner_stmga_v1"
    shutil.copytree(ROOT / "stmga", repo / "stmga", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "hubconf.py", repo)
    (hub / "trusted_list").write_text("")
    return tmp_path


def test_the_github_form_with_a_tag_and_the_help_texts(cached_repository):
    code = f"""
import socket
def never(*args, **kwargs):
    raise AssertionError("a connection was opened")
socket.socket.connect = never
import torch
entries = torch.hub.list("owner/stmga:v1", trust_repo=True)
print(sorted(entries) == sorted({ENTRIES}), entries)
for name in entries:
    print(torch.hub.help("owner/stmga:v1", name, trust_repo=True))
print(torch.hub.load("owner/stmga:v1", "stmga_resnet18_c4", trust_repo=True).dim)
"""
    out = run(code, cached_repository, TORCH_HOME=str(cached_repository / "torch"))
    assert out.startswith("True"), out
    assert out.rstrip().endswith("256")
    assert out.count("pretrained (bool)") == len(ENTRIES)
    for name in ENTRIES:
        assert f'"{name}"' in out
    assert "{name}" not in out


def test_dependencies_are_import_names_and_the_file_imports_nothing_heavy():
    tree = ast.parse((ROOT / "hubconf.py").read_text())
    imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imported == []
    named = next(n for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "dependencies")
    dependencies = ast.literal_eval(named.value)
    assert {"torch", "torchvision", "huggingface_hub", "safetensors", "numpy", "einops", "PIL"} == set(dependencies)
    import importlib.util

    assert all(importlib.util.find_spec(name) for name in dependencies)


def test_no_module_of_ours_can_clash():
    """torch.hub puts the repository on sys.path: only `stmga` may be importable from its root besides hubconf."""
    importable = {p.stem for p in ROOT.glob("*.py")} | {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert importable <= {"hubconf", "stmga", "conftest"}
