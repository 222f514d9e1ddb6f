"""A teacher and its file, for the tests of distillation."""

import pytest

from stmga.hub.records import WeightRecord
from stmga.train import teacher_vectors
from tests.support.train import TEACHER, little_benchmark, tiny


@pytest.fixture(scope="module", name="benchmark")
def benchmark_fixture():
    return little_benchmark()


@pytest.fixture(scope="module", name="teacher")
def teacher_fixture():
    model = tiny(seed=7, config=TEACHER).eval()
    model.record = WeightRecord(name="", config=TEACHER, sha256="0" * 64, terms="research only")
    return model


@pytest.fixture(scope="module", name="file")
def file_fixture(benchmark, teacher, tmp_path_factory):
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    teacher_vectors(teacher, benchmark.train, file, weights="larger")
    return file
