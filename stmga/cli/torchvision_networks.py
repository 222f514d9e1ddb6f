"""Torchvision's classification networks as networks of features: without the classifier, or up to an inner node."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from stmga.backbones.weights import read_safetensors, torchvision_weights
from stmga.utils.text import did_you_mean, preview

CLASSIFIERS = ("fc", "classifier", "heads", "head")  # what torchvision calls the layers after the pooled features


class Node(nn.Module):
    """(n 3 h w) -> the output of one node, from torchvision's extractor of features."""

    def __init__(self, network: nn.Module, node: str) -> None:
        super().__init__()
        self.network, self.node = network, node

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x)[self.node]
        return found


def torchvision_network(name: str, weights: str | None) -> nn.Module:
    """A classification network of torchvision without its classifier: (n 3 h w) -> pooled features (n c).

    ``"resnet50:layer3"`` is the map of an inner node instead, and the network ends there.

    Args:
        weights: None for random ones, seed 0; ``"imagenet"`` for torchvision's; or a safetensors file in torchvision's
            names, which may hold more than the network needs.

    Raises:
        ValueError: no such network or node, or weights that do not fit.
    """
    arch, _, node = name.partition(":")
    known = torchvision.models.list_models(module=torchvision.models)
    if arch not in known:
        hint = did_you_mean(arch, known) or "such as torchvision:resnet50"
        raise ValueError(f"torchvision has no network {arch!r} for classification; {hint}")
    torch.manual_seed(0)
    whole = torchvision.models.get_model(arch, weights=None)
    names = set(whole.state_dict())
    network = _cut(whole, arch, node) if node else _without_classifier(whole, arch)
    if weights is not None:
        _fill(network, names, arch, weights)
    return network


def _cut(whole: nn.Module, arch: str, node: str) -> nn.Module:
    nodes = list(dict.fromkeys(name.partition(".")[0] for name in get_graph_node_names(whole.eval())[1]))
    try:
        return Node(create_feature_extractor(whole, [node]), node)
    except ValueError as error:
        hint = did_you_mean(node, nodes) or f"it has {preview(nodes, 12)}"
        raise ValueError(f"{arch} has no node {node!r}; {hint}") from error


def _without_classifier(whole: nn.Module, arch: str) -> nn.Module:
    found = [name for name, _ in whole.named_children() if name in CLASSIFIERS]
    if not found:
        raise ValueError(f"where {arch} has its classifier is not known; cut it at a node: torchvision:{arch}:NODE")
    setattr(whole, found[-1], nn.Identity())
    return whole


def _fill(network: nn.Module, known: set[str], arch: str, weights: str) -> None:
    """Every parameter from the file; those of the layers that were cut off are not needed."""
    state = torchvision_weights(arch) if weights == "imagenet" else read_safetensors(Path(weights))
    inner = network.network if isinstance(network, Node) else network
    wanted = inner.state_dict()
    lacking = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in known]
    misfit = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if lacking or extra or misfit:
        advice = f"; end the network where the file ends, such as torchvision:{arch}:layer3" if lacking else ""
        raise ValueError(
            f"{weights} does not fit {arch}: missing {preview(lacking) or 'none'}, "
            f"unexpected {preview(extra) or 'none'}, wrong shape {preview(misfit) or 'none'}{advice}"
        )
    filled = {key: state[key].to(wanted[key].dtype) for key in wanted if key in state}
    inner.load_state_dict(wanted | filled)
