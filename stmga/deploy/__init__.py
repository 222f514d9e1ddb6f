"""Networks as files for other runtimes: ONNX and ``torch.export``."""

from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel

__all__ = ["ExportedModel", "export"]
