"""Teachers' files that a stranger wrote: nothing hangs, and every fault is a TeacherError."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stmga import Tracklet
from stmga.tracklets.inputs import InputRecord
from stmga.train import Teacher, TeacherError
from stmga.train.distillation import _data, _digest

WALK = [Tracklet("a", np.zeros((5, 64, 32, 3), np.uint8), person=7)]
UNIT = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0))).half()
DEEP = "[" * 100_000


def written(path, changes=None, *, plain=UNIT, mirrored=UNIT, text=None):
    vectors = "" if plain.dtype == torch.bfloat16 or not plain.numel() else _digest(plain, mirrored)
    about = {
        "format": 1, "stmga": "x", "weights": "w", "digest": "d", "size": [64, 32], "terms": "", "data": _data(WALK),
        "vectors": vectors, "inputs": InputRecord(WALK).to_bytes().decode(),
    } | (changes or {})  # fmt: skip
    save_file({"plain": plain, "mirrored": mirrored.clone()}, path, {"stmga-teacher": text or json.dumps(about)})
    return path


def test_the_file_that_the_others_differ_from(tmp_path):
    assert Teacher(written(tmp_path / "t"), WALK)([(0, [0, 4])], [True]).shape == (1, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": None}, {"data": []}, {"data": None}, {"inputs": 5}, {"inputs": "["}, {"inputs": DEEP},
        {"weights": 5}, {"weights": "\x1b[2J"}, {"terms": None}, {"terms": "\u202e"}, {"vectors": None},
        {"size": None}, {"size": ["a"]}, {"digest": 5}, {"data": {"tracklets": 1, "persons": 1, "frames": "5"}},
    ],
    ids=lambda changes: repr(changes)[:30].encode("ascii", "replace").decode(),
)  # fmt: skip
def test_what_it_says_of_itself(tmp_path, changes):
    with pytest.raises(TeacherError) as caught:
        Teacher(written(tmp_path / "t", changes), WALK)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text", ["[]", "5", "null", DEEP, '{"format": NaN}', '{"format": 99, "stmga": "\\u001b"}', "{}"]
)
def test_what_is_no_description(tmp_path, text):
    with pytest.raises(TeacherError) as caught:
        Teacher(written(tmp_path / "t", text=text), WALK)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "vectors",
    [
        UNIT[:2], torch.full((5, 8), torch.nan).half(), torch.zeros(5, 8).half(), UNIT.float(), UNIT.bfloat16(),
        torch.ones(5, 8, dtype=torch.int32), torch.tensor(1.0).half(), torch.zeros(5, 0).half(), UNIT[None], 2 * UNIT,
    ],
    ids=["few", "nan", "zero", "float32", "bfloat16", "int32", "number", "no width", "three axes", "long"],
)  # fmt: skip
def test_vectors_that_nothing_can_be_learnt_from(tmp_path, vectors):
    with pytest.raises(TeacherError, match=r"expected float16|length is not 1"):
        Teacher(written(tmp_path / "t", plain=vectors.contiguous(), mirrored=vectors.contiguous()), WALK)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_teacher_that_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(TeacherError, match=r"not a regular file|Is a directory"):
            Teacher(path, WALK)
