"""Video-based person re-identification with ST-MGA: tracklets in, ranked matches out.

    import stmga

    model = stmga.create_model("stmga_resnet18_c4", pretrained=True)
    embeddings = stmga.TrackletEmbedder(model, progress=True)("crops/")  # crops/{tracklet}/*.jpg
    matches = stmga.Gallery(embeddings).search(embeddings, k=5)
    print(embeddings.ids[0], "->", [(m.id, round(m.similarity, 3)) for m in matches[0]])

The main names, all below ``stmga``; those with a dot are in submodules:

Networks     ``create_model``, ``list_models``, ``STMGA``, ``STMGAConfig``, ``paper_config``
Weights      ``list_weights``, ``get_weights``, ``get_transform``, ``STMGA.from_pretrained``, ``STMGA.save_pretrained``
Tracklets    ``read_tracklets``, ``Tracklet``, ``Frame``, ``tracklets.read_mot``, ``ClipTransform``
Embedding    ``TrackletEmbedder``, ``Embeddings``, ``embedding.FrameEncoder``; ``compare``: is it one person
Search       ``Gallery``: tracklets and persons, enrolled and forgotten; ``gallery.GalleryIndex``
Linking      ``link``: one identity for each person, over all cameras
Trackers     ``trackers.Encoder``, ``trackers.stitch``: for the trackers of other libraries
Trunks       ``TokenMap``: a vision transformer as a trunk; ``STMGA(config, backbone=module)``
Blocks       ``CPA``, ``MAPA``, ``LSTA``, ``MGA``, ``Stripes``: each usable alone
Evaluation   ``evaluate``, ``metrics.evaluate_networks``, ``metrics.Protocol``, ``metrics.calibrate``
Training     ``data.load_benchmark``, ``train.recipe``, ``train.train``
Pictures     ``visualize.ranked_picture``, ``visualize.compared_picture``, ``visualize.part_overlay``
Deployment   ``export``, ``deploy.ExportedModel``

Importing stmga imports torch and nothing heavier; submodules such as ``stmga.train`` load on first use. Each object's
help has examples: help(stmga.Gallery). The command line does the same work: stmga --help.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stmga._version import __version__
from stmga.backbones import TokenMap
from stmga.blocks import CPA, LSTA, MAPA, MGA, Stripes
from stmga.config import PAPER_CONFIGS, STMGAConfig, paper_config
from stmga.deploy import export
from stmga.embedding import Embeddings, TrackletEmbedder, compare
from stmga.features import Features
from stmga.gallery import Gallery, Match
from stmga.hub import WeightRecord
from stmga.model import STMGA
from stmga.tracklets import Frame, Tracklet, TrackletError, read_tracklets
from stmga.transforms import ClipTransform
from stmga.zoo import create_model, get_transform, get_weights, list_models, list_weights

if TYPE_CHECKING:
    from stmga.metrics import evaluate
    from stmga.people import link

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
    "Match",
    "STMGAConfig",
    "Stripes",
    "TokenMap",
    "Tracklet",
    "TrackletEmbedder",
    "TrackletError",
    "WeightRecord",
    "__version__",
    "compare",
    "create_model",
    "evaluate",
    "export",
    "get_transform",
    "get_weights",
    "link",
    "list_models",
    "list_weights",
    "paper_config",
    "read_tracklets",
]
# Imported when first asked for, so that `import stmga` stays as fast as `import torch`.
_SUBMODULES = ("blocks", "data", "gallery", "hub", "metrics", "people", "trackers", "tracklets", "train", "visualize")
_LATER = {"evaluate": "stmga.metrics", "link": "stmga.people"}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"stmga.{name}")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'stmga' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
