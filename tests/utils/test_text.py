"""Names in messages."""

import subprocess
import sys

from stmga.utils.text import did_you_mean, preview


def test_some_says_how_many_more():
    assert preview("abcdefgh") == "a, b, c, d, e and 3 more"
    assert preview("abcde") == "a, b, c, d, e"
    assert preview(iter([1, 2, 3]), limit=2) == "1, 2 and 1 more"
    assert preview([]) == ""


def test_closest():
    assert did_you_mean("stmga_resnet5O", ["stmga_resnet50", "other"]) == "did you mean 'stmga_resnet50'?"
    assert did_you_mean("ab1", ["ab2", "ab3", "zzz"]) in (
        "did you mean 'ab2' or 'ab3'?",
        "did you mean 'ab3' or 'ab2'?",
    )
    assert did_you_mean("xyz", ["abc"]) == ""


def test_it_costs_nothing():
    code = "import importlib.util as u, sys; s = u.find_spec('stmga').submodule_search_locations[0]\n"
    code += "sys.path.insert(0, s + '/utils'); import text; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
