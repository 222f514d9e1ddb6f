"""stmga: video-based person re-identification with ST-MGA. Importing it costs torch and nothing heavier."""

from stmga._version import __version__
from stmga.blocks import CPA, LSTA, MAPA, MGA, Stripes
from stmga.config import PAPER_CONFIGS, STMGAConfig, paper_config
from stmga.deploy.export import export
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.gallery.gallery import Gallery
from stmga.hub.records import WeightRecord
from stmga.model import STMGA, Features
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.transforms import ClipTransform
from stmga.zoo import create_model, get_weights, list_models, list_weights

__all__ = [
    "CPA",
    "LSTA",
    "MAPA",
    "MGA",
    "PAPER_CONFIGS",
    "STMGA",
    "ClipTransform",
    "Embeddings",
    "Features",
    "Frame",
    "Gallery",
    "STMGAConfig",
    "Stripes",
    "Tracklet",
    "TrackletEmbedder",
    "WeightRecord",
    "__version__",
    "create_model",
    "export",
    "get_weights",
    "list_models",
    "list_weights",
    "paper_config",
]
