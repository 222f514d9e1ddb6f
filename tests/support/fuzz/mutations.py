"""Valid documents with random damage, as Hypothesis strategies: JSON, bytes, and safetensors files."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

RAW = (  # texts that json.dumps does not write
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-320", "-0", "01", "+1", "nul", "", "'a'", "9" * 400,
    "9" * 5000, "-" + "9" * 400, "0." + "3" * 400, "[" * 40 + "]" * 40, "[" * 2000 + "]" * 2000, "[" * 100_000,
    '{"a":' * 400 + "1" + "}" * 400, '{"a": 1, "a": 2}', r'"\ud800"', r'"\udcff"', r'"\u0000"', '"\x00"',
    r'"\u001b[2J"', '"\x1b[2J"', '"\u202e"', '"open', "/* */ 1", "[1,]", '{"a"}',
)  # fmt: skip
ODD = (
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, 10**40, 0.5, -0.5, 1e-300, 1e308,
    "", " ", "x", "1", "nan", "../..", "/dev/zero", ".", "a\nb", "a" * 5000, "\u00e9", [], [[]], [None], [1], [1, 2],
    [0, 0, 0, 0], ["x"] * 3, [1] * 5000, {}, {"": ""}, {"a": 1}, {"a": {"b": []}},
)  # fmt: skip
TOKENS = (
    b"\0",
    b"\0" * 64,
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b",",
    b";",
    b'"',
    b"{",
    b"[",
    b"-",
    b"nan",
)
DTYPES = (
    "BOOL",
    "U8",
    "I8",
    "F8_E4M3",
    "F8_E5M2",
    "I16",
    "F16",
    "BF16",
    "I32",
    "F32",
    "F64",
    "I64",
    "U64",
    "C64",
    "f32",
    "F4",
)
MARK = "<<raw {}>>"


@st.composite
def changed_json(draw: st.DrawFn, value: Any, pool: Sequence[Any] = ()) -> str:
    """The text of the same JSON with up to three values, keys or entries changed; ``pool``: values that fit there."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.sampled_from((1, 0, 1, 1, 2, 3)))):
        value = _changed(draw, value, [*ODD, *pool])
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    text = re.sub(r'"<<raw (\d+)>>"', lambda found: RAW[int(found[1])], text)
    if draw(st.integers(0, 15)) == 15:  # a key twice
        text = re.sub(r'"(\w+)": ', r'"\1": 1, "\1": ', text, count=1)
    return text


def _changed(draw: st.DrawFn, value: Any, odd: list[Any]) -> Any:
    parent, key, place = None, None, value
    while isinstance(place, dict | list) and place and (parent is None or draw(st.integers(0, 3))):
        keys = list(place) if isinstance(place, dict) else range(len(place))
        parent, key = place, draw(st.sampled_from(keys))
        place = parent[key]
    new = draw(_values(odd))
    if parent is None:
        return new
    act = draw(st.integers(0, 9))
    if act == 0:
        del parent[key]
    elif act == 1 and isinstance(parent, dict):
        parent[draw(st.sampled_from(["new", "", "\x1b", "\ud800", "a" * 300]) | st.text(max_size=5))] = new
    elif act == 1:
        parent.insert(key, new)
    elif act == 2 and isinstance(parent, dict):  # two values change places
        other = draw(st.sampled_from(list(parent)))
        parent[key], parent[other] = parent[other], parent[key]
    elif act == 2:
        parent.append(copy.deepcopy(place))
    else:
        parent[key] = new
    return new if draw(st.integers(0, 30)) == 30 else value


def _values(odd: list[Any]) -> st.SearchStrategy[Any]:
    raw = st.integers(0, len(RAW) - 1).map(MARK.format)
    some = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    return st.one_of(st.sampled_from(odd).map(copy.deepcopy), raw, some)


@st.composite
def changed_bytes(draw: st.DrawFn, data: bytes, tokens: Sequence[bytes] = TOKENS, most: int = 5) -> bytes:
    """The same bytes with up to ``most`` places set, flipped, zeroed, cut out, doubled or put in, or cut short."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, most))):
        near = draw(st.sampled_from((16, 300, len(changed))))  # headers are at the beginning
        at = draw(st.integers(0, max(0, min(near, len(changed)) - 1)))
        act = draw(st.integers(0, 7))
        span = draw(st.integers(1, 80))
        if act == 0 and changed:
            changed[at] = draw(st.integers(0, 255))
        elif act == 1 and changed:
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif act == 2:
            changed[at : at + span] = bytes(min(span, len(changed) - at))
        elif act == 3:
            del changed[at : at + span]
        elif act == 4:
            changed[at:at] = changed[at : at + span]
        elif act == 5:
            changed[at:at] = draw(st.sampled_from(tokens) | st.binary(max_size=12))
        elif act == 6:
            changed[at : at + span] = draw(st.sampled_from(tokens))
        else:
            del changed[draw(st.integers(0, len(changed))) :]
    return bytes(changed)


@st.composite
def changed_safetensors(draw: st.DrawFn, data: bytes, pool: Sequence[Any] = (), tail: int = 0) -> bytes:
    """A safetensors file with another header, header length or numbers, or with all of it damaged.

    ``tail`` bytes of a large file may be left to the caller to append.
    """
    size = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + size], data[8 + size :]
    total = len(body) + tail
    act = draw(st.integers(0, 9))
    if act < 6:
        ends = (0, 1, total - 1, total, total + 1, 2**63 - 1, 2**64 - 1)
        fitting = [*DTYPES, *ends, [0, total], [0, 0], [2**32, 2**32], [0], [total], *pool]
        header = draw(changed_json(json.loads(header), fitting)).encode("utf-8", "surrogatepass")
    elif act < 8:
        header = draw(changed_bytes(header))
    if draw(st.integers(0, 4)) == 0:
        body = draw(changed_bytes(body))
    length = len(header)
    if draw(st.integers(0, 7)) == 0:
        near = (0, 1, 2, length - 1, length + 1, size, len(data), 2**31, 2**63, 2**64 - 1)
        length = max(0, draw(st.sampled_from(near)))
    whole = length.to_bytes(8, "little") + header + body
    return whole if act < 9 else draw(changed_bytes(data))
