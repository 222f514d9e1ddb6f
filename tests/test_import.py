"""What `import stmga` costs."""

import subprocess
import sys


def test_import_costs_torch_and_nothing_heavier():
    code = "import sys, stmga; print([m for m in ('torchvision', 'huggingface_hub', 'PIL') if m in sys.modules])"
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
