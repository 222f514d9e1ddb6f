"""STMGA as a whole: named configurations, features, invariants."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from stmga import TrackletEmbedder, export
from stmga.config import ARCHITECTURES, PAPER_CONFIGS, STMGAConfig, paper_config
from stmga.hub import WeightsError
from stmga.model import STMGA

SMALL = STMGAConfig(backbone="resnet18", stage="c4", relation_dim=16, size=(64, 32))


def small(**changes) -> STMGA:
    torch.manual_seed(0)
    return STMGA(replace(SMALL, **changes))


def seen(model: STMGA) -> STMGA:
    """Eval mode with norm statistics that are not zeros and ones, as after training."""
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model.neck(model.encode(torch.rand(4, 4, 3, 64, 32)))
    return model.eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_take_any_clip_length(name):
    with FakeTensorMode():  # shapes without numbers
        model = STMGA(ARCHITECTURES[name]).eval()
        for t in (1, 2, 8):
            f = model.forward_features(torch.rand(2, t, 3, 256, 128))
            assert f.map.shape == (2, t, model.dim, 16, 8) and f.z_f.shape == (2, model.dim)
            if name.endswith("_baseline"):
                assert f.parts is f.z_t is f.z_c is None
                continue
            assert f.part_attention.shape == (2, t, 7, 16, 8) and f.parts.shape == (2, 7, t, model.dim)
            assert f.temporal_parts.shape == (2, 7, 3, t, model.dim) and f.part_vectors.shape == (2, 7, model.dim)
            assert f.z_t.shape == f.z_c.shape == (2, model.dim)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name.endswith("_baseline")])
def test_a_baseline_is_the_papers_on_the_trunk_of_its_method(name):
    method = ARCHITECTURES[name.removesuffix("_baseline")]
    expected = replace(paper_config("table8/baseline"), backbone=method.backbone, stage=method.stage)
    assert ARCHITECTURES[name] == expected


def test_sizes_are_those_of_the_method():
    """126.7 M and 62.8 M with four heads of 625 identities and a part classifier (5.15 M together)."""
    with torch.device("meta"):
        count = {n: sum(p.numel() for p in STMGA(c).parameters()) / 1e6 for n, c in ARCHITECTURES.items()}
    assert count["stmga_resnet50"] == pytest.approx(126.7 - 5.15, abs=0.1)
    assert count["stmga_resnet50_light"] == pytest.approx(62.8 - 5.15 - 0.52, abs=0.1)  # and no idle relations


SPATIAL = "parts part_vectors z_c"
FULL = "cpa part_attention parts temporal_parts part_vectors z_t z_c"
HAS = {  # what a row has beside the map and Z^F; all rows that are not here have everything
    "table4/baseline table5/baseline table6/baseline table8/baseline": "",
    "table5/part-4 table5/part-8 table8/p-mga": SPATIAL,
    "table4/no-loss table4/pce table4/pce+pa table4/pce+pa+res": f"cpa part_attention {SPATIAL}",
    "table5/cpa-2 table5/cpa-4 table5/cpa-8 table8/s-mga": f"cpa part_attention {SPATIAL}",
    "table6/1,2/1 table6/1,2,4/1 table6/1,2,4,8/1": f"cpa part_attention {SPATIAL}",
    "table8/t-mga": "parts temporal_parts part_vectors z_t",
    "table8/t-mga,p-mga": "parts temporal_parts part_vectors z_t z_c",
    "table8/s-mga,t-mga": "cpa part_attention parts temporal_parts z_t z_c",
}


@pytest.mark.parametrize("name", PAPER_CONFIGS)
def test_every_row_of_the_paper_builds_runs_and_learns(name):
    torch.manual_seed(0)
    config = replace(paper_config(name), backbone="resnet18", stage="c4", relation_dim=16)
    if max(config.part_scales) > 4:
        model, clips = STMGA(config), torch.rand(2, 2, 3, 128, 32)  # eight stripes need eight rows
    else:
        model, clips = STMGA(config), torch.rand(2, 2, 3, 64, 32)
    f = model.forward_features(clips)
    loss = f.z_f.square().sum() + model.neck(f.final).pow(3).sum()
    for extra in (f.z_t, *(f.cpa or ())):
        loss = loss + extra.square().sum() if extra is not None else loss
    loss.backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not silent
    z = model.eval()(clips)
    assert z.shape == (2, 256)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(2))
    (expected,) = [has for rows, has in HAS.items() if name in rows.split()] or [FULL]
    assert [k for k, v in vars(f).items() if v is not None] == ["map", "z_f", *expected.split()]


@pytest.mark.parametrize(
    "name", ["table8/baseline", "table8/t-mga", "table8/s-mga", "table8/s-mga,t-mga", "table7/neither"]
)
def test_encode_is_the_final_feature(name):
    model = seen(STMGA(replace(paper_config(name), backbone="resnet18", stage="c4")))
    clips = torch.rand(2, 3, 3, 64, 32)
    final = model.forward_features(clips).final
    torch.testing.assert_close(model.encode(clips), final)
    torch.testing.assert_close(model(clips), model.forward_head(final))


@pytest.mark.parametrize("attend", ["residual", "scaled", "mask"])
def test_every_way_to_attend_runs_learns_and_is_the_final_feature(attend):
    model = small(attend=attend)
    assert model.mapa.attend == attend
    found = model.forward_features(torch.rand(2, 3, 3, 64, 32))
    (model.neck(found.final).pow(3).sum() + found.z_t.square().sum()).backward()
    for name, parameter in model.cpa.part_heads.named_parameters():  # the parts are found by what is seen through them
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name
    model = seen(model)
    clips = torch.rand(2, 3, 3, 64, 32)
    with torch.no_grad():
        final = model.forward_features(clips).final
        torch.testing.assert_close(model(clips), model.forward_head(final))


def test_the_ways_to_attend_are_different_networks():
    models = [seen(small(attend=attend)) for attend in ("residual", "scaled", "mask")]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())  # the same parameters
    assert len({model.digest() for model in models}) == 3
    clips = torch.rand(2, 3, 3, 64, 32)
    with torch.no_grad():
        z = torch.stack([model.encode(clips) for model in models])
    assert all(not torch.allclose(z[i], z[j], rtol=1e-3) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_every_parameter_has_a_gradient_after_one_step():
    model = small()
    f = model.forward_features(torch.rand(2, 3, 3, 64, 32))
    terms = [f.z_f, f.z_t, model.neck(f.z_c), *f.cpa]
    sum((t * torch.randn_like(t)).sum() for t in terms).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


def test_inference_skips_what_only_the_losses_need():
    model = small().eval()
    model.cpa.global_head.forward = None
    model(torch.rand(1, 2, 3, 64, 32))


def test_a_clip_does_not_depend_on_its_neighbours():
    model = seen(small())
    clips = torch.rand(5, 4, 3, 64, 32)
    together = model(clips)
    torch.testing.assert_close(model(clips[[3, 0, 4, 1, 2]]), together[[3, 0, 4, 1, 2]], atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat([model(c[None]) for c in clips]), together, atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-4  # the clips do differ


def test_average_then_neck_is_neck_then_average():
    model = seen(small())
    z = model.encode(torch.rand(4, 4, 3, 64, 32))
    torch.testing.assert_close(model.neck(z.mean(0, keepdim=True)), model.neck(z).mean(0, keepdim=True))


def test_one_frame_and_a_single_part_scale_work():
    assert seen(small())(torch.rand(1, 1, 3, 64, 32)).shape == (1, 256)
    assert seen(small(part_scales=(1,)))(torch.rand(2, 3, 3, 64, 32)).shape == (2, 256)


def test_double_precision_stays_double():
    z = small().double().eval()(torch.rand(2, 2, 3, 64, 32, dtype=torch.float64))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_training_under_autocast_leaves_no_nan_anywhere():
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        f = model.forward_features(torch.rand(2, 3, 3, 64, 32))
        terms = [f.z_f, f.z_t, model.neck(f.z_c), *f.cpa]
        loss = sum((t.float() * torch.randn(t.shape)).sum() for t in terms)
    loss.backward()
    assert [n for n, p in model.named_parameters() if not torch.isfinite(p.grad).all()] == []


def test_autocast_gives_nearly_the_same_direction():
    model = seen(small())
    clips = torch.rand(3, 4, 3, 64, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(clips)
    assert (half.float() * model(clips)).sum(-1).min() > 0.99


@pytest.mark.slow
def test_compiles_whole_with_dynamic_batch_and_time():
    model = seen(small())
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for b, t in [(2, 3), (3, 5)]:
        clips = torch.rand(b, t, 3, 64, 32)
        for axis in (0, 1):  # not height and width as well, which would take minutes
            torch._dynamo.mark_dynamic(clips, axis)
        torch.testing.assert_close(compiled(clips), model(clips), atol=1e-5, rtol=1e-5)


def test_copies_and_digest():
    model = small()
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.to(memory_format=torch.channels_last)):
        assert same.digest() == model.digest()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.neck.bias[0] += 1e-6
    assert other.digest() != model.digest()
    assert small(tau=0.06).digest() != model.digest()  # the same weights in another network


@pytest.mark.parametrize(
    ("clips", "error", "words"),
    [
        (torch.rand(8, 3, 64, 32), ValueError, "clip[None]"),
        (torch.rand(1, 8, 1, 64, 32), ValueError, "(b, t, 3, h, w)"),
        (torch.rand(1, 0, 3, 64, 32), ValueError, "at least one clip of one frame"),
        (torch.zeros(1, 2, 3, 64, 32, dtype=torch.uint8), TypeError, "ClipTransform"),
        (torch.rand(1, 2, 3, 64, 32, dtype=torch.float64), TypeError, "torch.float64"),
        (torch.full((1, 2, 3, 64, 32), float("nan")), ValueError, "NaN"),
        (torch.zeros(1, 2, 3, 64, 32, dtype=torch.complex64), TypeError, "torch.complex64"),
        ([1, 2], TypeError, "got list; model.transform(frames)[None]"),
        (None, TypeError, "got NoneType"),
        (np.zeros((1, 2, 3, 64, 32), np.float32), TypeError, "got ndarray"),
    ],
)
def test_a_wrong_clip_says_what_was_expected(clips, error, words):
    for call in (small().eval(), small().encode, small().forward_features):
        if words != "NaN" or isinstance(call, STMGA):
            with pytest.raises(error) as caught:
                call(clips)
            assert words in str(caught.value)


@pytest.mark.parametrize(
    ("z", "error"), [([1], TypeError), (torch.rand(2, 3, 256), ValueError), (torch.rand(2, 9), ValueError)]
)
def test_a_wrong_feature_says_what_was_expected(z, error):
    with pytest.raises(error, match=r"forward_head takes a tensor \(b, c\) with 256 channels c, got"):
        small().eval().forward_head(z)


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.float8_e4m3fn, torch.bool])
def test_weights_of_types_that_parameters_are_not_stored_in(dtype):
    model = small()
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    before = model.digest()
    with pytest.raises(WeightsError, match=f"not stored in: .*{str(dtype)[6:]}.*before they were converted"):
        model.load_state_dict(state)
    assert model.digest() == before
    for parameter in model.parameters():
        parameter.requires_grad_(False).data = parameter.data.to(dtype)
    with pytest.raises(TypeError, match=str(dtype)):
        model.eval()(torch.rand(1, 2, 3, 64, 32))
    advice = r"use model\.float\(\)" if dtype.is_floating_point else "load float32 weights"
    with pytest.raises(ValueError, match=f"{dtype}; {advice}"):
        TrackletEmbedder(model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_loaded(dtype):
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in small().state_dict().items()}
    model = small()
    assert str(model.load_state_dict(state)) == "<All keys matched successfully>"
    assert model.neck.weight.dtype == torch.float32
    assert "neck.weight" in model.load_state_dict({}, strict=False).missing_keys


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, lambda model: "model"])
def test_what_is_wrapped_or_no_network(wrap, tmp_path):
    given = wrap(small().eval())
    advice = "got str" if given == "model" else r"got DataParallel; give the network inside, model\.module"
    with pytest.raises(TypeError, match=advice):
        TrackletEmbedder(given)
    with pytest.raises(TypeError, match=advice):
        export(given, tmp_path / "m.pt2")
    assert list(tmp_path.iterdir()) == []
