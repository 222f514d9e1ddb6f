"""Embeddings as an Arrow table and back, also through Parquet, and tables that are none of ours."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga import Embeddings
from tests.support.gallery import DIGEST, calibration, embeddings

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra `arrow`)")
pq = pytest.importorskip("pyarrow.parquet")

ITEMS = [
    {"tracklet": "a/1", "person": 7, "camera": "door", "time": 1.5, "flip": True, "cover": {"file": "x.jpg"}},
    {"tracklet": "a/2", "person": "ann", "camera": "door", "flip": False, "note": None},
    {"tracklet": "a\udc80", "camera": "yard", "time": 2.0, "big": 1 << 70},
]


def test_columns_have_the_type_of_their_values_and_mixed_ones_are_json():
    table = embeddings(ITEMS[:2], dim=4).to_arrow()
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 4)
    types = {field.name: str(field.type) for field in table.schema if field.name != "vector"}
    assert types == {
        "tracklet": "string", "person": "string", "camera": "string", "time": "double", "flip": "bool",
        "cover": "string", "note": "string",
    }  # fmt: skip
    texts = [field.name for field in table.schema if (field.metadata or {}).get(b"stmga") == b"json"]
    assert texts == ["person", "cover"]
    assert table["person"].to_pylist() == ["7", '"ann"']
    assert table["camera"].to_pylist() == ["door", "door"]


def test_everything_comes_back_also_from_parquet(tmp_path):
    skipped = [{"tracklet": "lost", "reason": "no frames"}]
    before = embeddings(ITEMS, model="m", skipped=skipped, calibration=calibration())
    pq.write_table(before.to_arrow(), tmp_path / "x.parquet")
    for table in (before.to_arrow(), pq.read_table(tmp_path / "x.parquet")):
        after = Embeddings.from_arrow(table)
        assert torch.equal(after.vectors, before.vectors)
        assert after.items == [{k: v for k, v in item.items() if v is not None} for item in ITEMS]
        assert (after.digest, after.model, after.skipped) == (DIGEST, "m", skipped)
        assert after.calibration == before.calibration


def test_arrays_of_numpy_become_lists_as_in_a_file():
    items = [{"tracklet": "a", "box": np.arange(4), "score": np.float32(0.5)}]
    assert Embeddings.from_arrow(embeddings(items).to_arrow()).items == [
        {"tracklet": "a", "box": [0, 1, 2, 3], "score": 0.5}
    ]


value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
key = st.text(max_size=3).filter(lambda name: name != "vector")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(key, value, max_size=4), max_size=4))
def test_any_items_come_back(rows):
    items = [{**row, "tracklet": f"t{i}"} for i, row in enumerate(rows)]
    after = Embeddings.from_arrow(embeddings(items).to_arrow())
    assert after.items == [{k: v for k, v in item.items() if v is not None} for item in items]
    for there, item in zip(after.items, items, strict=True):
        assert all(type(v) is type(item[k]) for k, v in there.items())  # True, 1 and 1.0 are equal


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"tracklet": "a", "vector": 1}], "has the key 'vector'.*rename"),
        ([{"tracklet": "a", "x\ud800": 1}], "Unicode names"),
        ([{"tracklet": "a", "x": float("nan")}], "plain, finite values"),
    ],
)
def test_what_a_table_cannot_keep_is_an_error(items, message):
    with pytest.raises(ValueError, match=message):
        embeddings(items).to_arrow()


def changed(name, column, **metadata):
    """Our table with another column in place of one, or other metadata."""
    table = embeddings(ITEMS[:2], dim=4).to_arrow()
    if column is not None:
        table = table.set_column(table.column_names.index(name), name, column)
    return table.replace_schema_metadata({**table.schema.metadata, **{k.encode(): v for k, v in metadata.items()}})


LISTS = pa.array([[1.0, 0.0], [0.0, 1.0]])
BAD = {
    "no metadata": (lambda: changed("", None).replace_schema_metadata(None), "which weights"),
    "newer": (lambda: changed("", None, format_version="2"), "newer stmga"),
    "version": (lambda: changed("", None, format_version="x"), "metadata"),
    "calibration": (lambda: changed("", None, calibration="{}"), "no calibration"),
    "skipped": (lambda: changed("", None, skipped="[1]"), "skipped"),
    "no vector": (lambda: changed("", None).drop_columns("vector"), "no column 'vector'"),
    "ragged": (lambda: changed("vector", pa.array([[1.0, 0.0], [1.0]])), "one length"),
    "null vector": (lambda: changed("vector", pa.array([[1.0, 0.0], None])), "one length"),
    "null number": (lambda: changed("vector", pa.array([[1.0, 0.0], [None, 1.0]])), "without nulls"),
    "text vector": (lambda: changed("vector", pa.array(["a", "b"])), "lists of floats"),
    "NaN": (lambda: changed("vector", pa.array([[1.0, 0.0], [float("nan"), 1.0]])), "not finite"),
    "infinite": (lambda: changed("time", pa.array([1.0, float("inf")])), "not finite"),
    "struct": (lambda: changed("time", pa.array([{"a": 1}, {"a": 2}])), "drop or cast"),
    "id twice": (lambda: changed("tracklet", pa.array(["a", "a"])), "more than once"),
    "no id": (lambda: changed("tracklet", pa.array(["a", None])), "without the key 'tracklet'"),
    "two columns": (lambda: changed("", None).append_column("time", LISTS), "two columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_another_table_is_refused_by_name(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        Embeddings.from_arrow(make())


def test_json_that_is_none_is_refused():
    table = embeddings(ITEMS[:2], dim=4).to_arrow()
    place = table.column_names.index("person")
    bad = table.set_column(place, table.schema.field("person"), pa.array(["7", "{"]))
    with pytest.raises(ValueError, match="'person' must have JSON texts"):
        Embeddings.from_arrow(bad)


def test_lists_and_doubles_of_other_databases_are_taken():
    assert Embeddings.from_arrow(changed("vector", LISTS)).vectors.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_something_else_is_a_type_error():
    with pytest.raises(TypeError, match=r"takes a pyarrow.Table, got dict"):
        Embeddings.from_arrow({})


def test_without_pyarrow_the_extra_is_named():
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import torch, stmga\n"
        "stmga.Embeddings(torch.eye(1), [{'tracklet': 'a'}], digest='1').to_arrow()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: Arrow tables need pyarrow: pip install 'stmga[arrow]'" in done.stderr
