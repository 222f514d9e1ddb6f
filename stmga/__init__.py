"""Video-based person re-identification with ST-MGA: tracklets in, ranked matches out.

    import stmga

    model = stmga.create_model("stmga_resnet18_c4", pretrained=True)
    embeddings = stmga.TrackletEmbedder(model, progress=True)("crops/")  # crops/{tracklet}/*.jpg
    matches = stmga.Gallery(embeddings).search(embeddings, k=5)
    print(embeddings.ids[0], "->", [(m.id, round(m.similarity, 3)) for m in matches[0]])

What there is, below ``stmga``; names with a dot are in submodules (from stmga.metrics import evaluate):

Networks     ``create_model``, ``list_models``, ``STMGA``, ``STMGAConfig``, ``paper_config``
Weights      ``list_weights``, ``get_weights``, ``STMGA.from_pretrained``, ``STMGA.save_pretrained``
Tracklets    ``Tracklet``, ``Frame``, ``tracklets.read_tracklets``, ``tracklets.read_mot``, ``ClipTransform``
Embedding    ``TrackletEmbedder``, ``Embeddings``
Search       ``Gallery``, ``gallery.GalleryIndex``
Blocks       ``CPA``, ``MAPA``, ``LSTA``, ``MGA``, ``Stripes``: each usable alone
Evaluation   ``metrics.evaluate``, ``metrics.Protocol``, ``metrics.calibrate``
Training     ``data.load_benchmark``, ``train.recipe``, ``train.train``
Pictures     ``visualize.ranked_picture``, ``visualize.part_overlay``
Deployment   ``export``, ``deploy.ExportedModel``

Importing stmga imports torch and nothing heavier. Each object has examples of its own: help(stmga.Gallery). The command
line does the same work: stmga --help.
"""

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
