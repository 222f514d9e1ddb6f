"""What `import stmga` costs."""

import subprocess
import sys

import pytest


def test_import_costs_torch_and_nothing_heavier():
    code = (
        "import sys, stmga; print([m for m in ('torchvision', 'huggingface_hub', 'PIL', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_takes_no_longer_than_torch():
    """At most 1.1 x: both timed inside one process, so that the disk cache and the machine are the same."""
    code = (
        "import time; a = time.perf_counter(); import torch; b = time.perf_counter(); import stmga;"
        "print((time.perf_counter() - a) / (b - a))"
    )
    ratios = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(ratios) <= 1.1, ratios


def test_dir_shows_the_public_names_and_every_one_resolves():
    lines = [
        "import stmga",
        "names = dir(stmga)",
        "print(len(names), [name for name in names if name[0] == '_'])",
        "every = [getattr(stmga, name) for name in names]",
        "print(stmga.evaluate.__module__, stmga.train.train.__name__)",
    ]
    done = subprocess.run([sys.executable, "-c", "; ".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["41 ['__version__']", "stmga.metrics.evaluation train"]


def test_a_name_that_is_not_there_is_an_attribute_error():
    import stmga

    with pytest.raises(AttributeError, match="module 'stmga' has no attribute 'trian'"):
        _ = stmga.trian
