"""Networks as files for other runtimes: ONNX, also in int8, OpenVINO and ``torch.export``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel

if TYPE_CHECKING:
    from stmga.deploy.int8 import export_int8
    from stmga.deploy.single_crop import export_single_crop

__all__ = ["ExportedModel", "export", "export_int8", "export_single_crop"]
# Imported when first asked for: `import stmga` needs neither.
_LATER = {"export_int8": "stmga.deploy.int8", "export_single_crop": "stmga.deploy.single_crop"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'stmga.deploy' has no attribute {name!r}")
