"""A file where a folder of weights is expected: what it is, and what to type."""

from __future__ import annotations

from pathlib import Path

from stmga.hub.records import CONFIG_FILE, WEIGHTS_FILE
from stmga.hub.state import pickle_hint
from stmga.utils.foreign import open_regular


def wrong_file(path: str | Path) -> str:
    """The sentences of an error about a file that is given as weights; "" if there is no file ``path``."""
    try:
        path = Path(path)
        if not path.is_file():
            return ""
        with open_regular(path) as file:
            start = file.read(8)
    except (OSError, ValueError):  # a name that no file can have, or a file that nobody may read
        return ""
    expected = (
        f"{path} is a file; weights are a folder that save_pretrained wrote, with {CONFIG_FILE} and {WEIGHTS_FILE}. "
    )
    if path.suffix in (".pt2", ".onnx", ".xml"):
        return f"{expected}stmga.deploy.ExportedModel({str(path)!r}) runs an exported file."
    if (path.parent / CONFIG_FILE).is_file():
        return f"{expected}Give its folder, {str(path.parent)!r}."
    if hint := pickle_hint(start):
        load = f"torch.load({str(path)!r}, weights_only=True)"
    elif path.suffix == ".safetensors":
        load = f"safetensors.torch.load_file({str(path)!r})"
    else:
        return expected.strip()
    return (
        f"{expected}{hint}If it is the state_dict of an STMGA, build that network and convert it once: "
        f"model.load_state_dict({load}), then model.save_pretrained(folder)."
    )
