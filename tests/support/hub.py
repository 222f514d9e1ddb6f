"""What the Hub's tests share: a tiny network, its files, a loopback Hub, and a user who has only that Hub."""

from __future__ import annotations

import builtins
import errno
import hashlib
import io
import os
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from stmga.config import STMGAConfig
from stmga.hub import repo as remote
from stmga.hub.records import WeightsError
from stmga.model import STMGA

TINY = STMGAConfig(
    backbone="resnet18",
    stage="c4",
    parts="none",
    part_scales=(1,),
    temporal_scales=(),
    t_mga=False,
    s_mga=False,
    clip_length=2,
    size=(32, 16),
)
REPO = "user/model"
WEIGHTS = r"GET .*/model\.safetensors"


def tiny(seed: int = 0) -> STMGA:
    torch.manual_seed(seed)
    model = STMGA(TINY)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_()  # so that a buffer which is not loaded shows
    return model.eval()


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return list(x) == list(y) and all(torch.equal(x[k], y[k]) and x[k].dtype == y[k].dtype for k in x)


def use(monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", url)  # stmga reads it at every call
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    # huggingface_hub read these from HF_HOME when it was imported, perhaps by another test.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Writing below ``folder`` fails as on a read-only disk; permissions would not stop root."""

    def guard(function, writes):  # type: ignore[no-untyped-def]
        def guarded(path, *args, **kwargs):  # type: ignore[no-untyped-def]
            inside = isinstance(path, str | os.PathLike) and Path(path).absolute().is_relative_to(folder.absolute())
            if inside and writes(*args, **kwargs):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return function(path, *args, **kwargs)

        return guarded

    def mode_writes(mode="r", *args, **kwargs):  # type: ignore[no-untyped-def]
        return bool(set(mode) & set("wax+"))

    def flags_write(flags, *args, **kwargs):  # type: ignore[no-untyped-def]
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    with pytest.MonkeyPatch.context() as patch:
        for module in (builtins, io):
            patch.setattr(module, "open", guard(module.open, mode_writes))
        patch.setattr(os, "open", guard(os.open, flags_write))
        for name in ("mkdir", "unlink", "remove", "rename", "replace", "utime"):
            patch.setattr(os, name, guard(getattr(os, name), lambda *args, **kwargs: True))
        if accessor := getattr(pathlib, "_normal_accessor", None):  # Python 3.10 keeps the functions it found in os
            for name in ("mkdir", "unlink", "rename", "replace"):
                patch.setattr(accessor, name, getattr(os, name))
            patch.setattr(accessor, "open", io.open)
        yield


def litter(cache: Path) -> list[str]:
    """Files of a cache that are no whole download: half-written ones and links that lead nowhere."""
    found = [p for p in cache.rglob("*") if p.name.endswith((".incomplete", ".tmp"))]
    return [str(p) for p in found + [p for p in cache.rglob("*") if p.is_symlink() and not p.exists()]]


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def refuse(*words: str, source=REPO, long=False, **options) -> str:
    """Loading fails with ``words``, in three sentences at most (``long``: and the reason of a second try)."""
    with pytest.raises(WeightsError) as caught:
        STMGA.from_pretrained(source, **options)
    text = str(caught.value)
    for word in words:
        assert word in text, text
    assert text.count(". ") <= (3 if long else 2), text
    assert "\n" not in text
    assert len(text) < (1000 if long else 700), text
    return text
