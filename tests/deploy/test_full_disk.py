"""A disk that is full: an OSError that names the file, an older file as it was, and nothing beside it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytest.importorskip("resource")
SCRIPT = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import torch, stmga, stmga.gallery
from stmga.deploy import export
from tests.support.embedder import TINY, build
model = build(TINY).eval()
items = [{"tracklet": str(i)} for i in range(3000)]
vectors = stmga.Embeddings(torch.nn.functional.normalize(torch.randn(3000, 64)), items, digest="1f0c")
writers = {
    "export": lambda path: export(model, path),
    "embeddings": vectors.save,
    "index": lambda path: stmga.gallery.GalleryIndex(stmga.Gallery(vectors)).save(path),
}
limit = 100_000  # bytes of a file: what is written then fails, as on a full disk
writer = writers[sys.argv[2]]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    writer(sys.argv[3])
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("what", "name"),
    [("export", "m.pt2"), ("export", "m.onnx"), ("embeddings", "v.safetensors"), ("index", "i.safetensors")],
)
def test_a_full_disk_is_an_error_and_the_old_file_stays(tmp_path, what, name):
    if what == "index":
        pytest.importorskip("faiss")
    if name.endswith("onnx"):
        pytest.importorskip("onnxscript")
    out = tmp_path / name
    out.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ROOT), what, str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the file was not written, and what was there before is untouched" in done.stdout and name in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == [name] and out.read_bytes() == b"old"
