"""Networks as files for other runtimes: ONNX and ``torch.export``."""

from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel
from stmga.deploy.int8 import export_int8
from stmga.deploy.single_crop import export_single_crop

__all__ = ["ExportedModel", "export", "export_int8", "export_single_crop"]
