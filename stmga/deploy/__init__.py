"""Networks as files for other runtimes: ONNX, also in int8, OpenVINO and ``torch.export``."""

from typing import TYPE_CHECKING

from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel
from stmga.utils.lazy import imported_later

if TYPE_CHECKING:
    from stmga.deploy.int8 import export_int8
    from stmga.deploy.single_crop import export_single_crop

__all__ = ["ExportedModel", "export", "export_int8", "export_single_crop"]
# Imported when first asked for: `import stmga` needs neither.
__getattr__ = imported_later(
    __name__, {"export_int8": "stmga.deploy.int8", "export_single_crop": "stmga.deploy.single_crop"}
)
