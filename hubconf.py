"""Entry points of torch.hub, one for each architecture, and ``transforms``.

    model = torch.hub.load("OWNER/stmga:TAG", "stmga_resnet18_c4", pretrained=True, trust_repo=True)
    model = torch.hub.load("path/to/a/clone", "stmga_resnet18_c4", pretrained=True, source="local")

Every entry point is ``stmga.create_model`` or ``weights.transform()``; nothing here needs the package to be installed.
"""

dependencies = ["torch", "torchvision", "huggingface_hub", "safetensors", "numpy", "einops", "PIL"]  # names of imports

_ARGS = """

    Args:
        pretrained (bool): take the default trained weights; False gives random ones.
        weights (str): take these trained weights: a tag, "architecture.tag", or a folder made by save_pretrained.
        backbone (str or nn.Module): another trunk: "resnet50_ibn", "timm:convnext_tiny", or a module from frames
            (n, 3, h, w) to a map (n, c, h/16, w/16); then model.transform is the preprocessing.
        backbone_weights (str): without trained weights, where the trunk starts: "imagenet" for a ResNet, "timm" for a
            network of timm, or a safetensors file.
        backbone_missing (list[str]): stages that this file is known to lack, such as ["layer4"].
        cache_dir (str): the Hub's cache; by default huggingface_hub's.
        local_files_only (bool): make no request.
        device (str): where the network goes.

    Returns:
        An nn.Module: clips (b, t, 3, h, w) as transforms() makes them -> embeddings (b, dim) of unit length;
        in eval mode if trained.

    Example:
        model = torch.hub.load("OWNER/stmga:TAG", "{name}", trust_repo=True)  # random; pretrained=True: trained
        transform = torch.hub.load("OWNER/stmga:TAG", "transforms", "{name}", trust_repo=True)  # the same arguments
        z = model.eval()(transform(frames)[None])  # frames: list of PIL images, or a uint8 array (t, h, w, 3)
"""


def _entry(function):  # type: ignore[no-untyped-def]
    """Add what all architectures share to the text that torch.hub.help shows."""
    function.__doc__ += _ARGS.replace("{name}", function.__name__)
    return function


def _create(name, pretrained, weights, options):  # type: ignore[no-untyped-def]
    from stmga.zoo import create_model  # here, so that a missing dependency is reported by its name

    return create_model(name, pretrained=pretrained, weights=weights, **options)


@_entry
def stmga_resnet50(*, pretrained=False, weights=None, **options):  # type: ignore[no-untyped-def]
    """The network of the paper: ResNet-50, three part scales, three temporal scales."""
    return _create("stmga_resnet50", pretrained, weights, options)


@_entry
def stmga_resnet50_light(*, pretrained=False, weights=None, **options):  # type: ignore[no-untyped-def]
    """The network of the paper with a depthwise temporal operator and narrow relations: a much cheaper head."""
    return _create("stmga_resnet50_light", pretrained, weights, options)


@_entry
def stmga_resnet50_c4(*, pretrained=False, weights=None, **options):  # type: ignore[no-untyped-def]
    """The light head on a ResNet-50 cut after layer3."""
    return _create("stmga_resnet50_c4", pretrained, weights, options)


@_entry
def stmga_resnet18_c4(*, pretrained=False, weights=None, **options):  # type: ignore[no-untyped-def]
    """The smallest: the head of the paper on a ResNet-18 cut after layer3; runs on a CPU."""
    return _create("stmga_resnet18_c4", pretrained, weights, options)


@_entry
def stmga_resnet50_c4_baseline(*, pretrained=False, weights=None, **options):  # type: ignore[no-untyped-def]
    """What the method is compared with: a ResNet-50 cut after layer3, average pooling and a BN neck."""
    return _create("stmga_resnet50_c4_baseline", pretrained, weights, options)


@_entry
def stmga_resnet18_c4_baseline(*, pretrained=False, weights=None, **options):  # type: ignore[no-untyped-def]
    """What the method is compared with: a ResNet-18 cut after layer3, average pooling and a BN neck."""
    return _create("stmga_resnet18_c4_baseline", pretrained, weights, options)


def transforms(name, *, pretrained=False):  # type: ignore[no-untyped-def]
    """The preprocessing that belongs to a weight or an architecture.

    Args:
        name (str): "architecture.tag", an architecture, or a folder made by save_pretrained.
        pretrained (bool): take the preprocessing of the architecture's default trained weights.

    Returns:
        A ClipTransform: list of PIL images, uint8 array (t, h, w, 3) or tensor (t, 3, h, w) -> float (t, 3, h, w).

    Example:
        repository = "OWNER/stmga:TAG"
        transform = torch.hub.load(repository, "transforms", "stmga_resnet18_c4", pretrained=True, trust_repo=True)
    """
    from stmga.zoo import get_transform

    return get_transform(name, pretrained=pretrained)
