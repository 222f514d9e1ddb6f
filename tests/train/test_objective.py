"""The joint objective: which terms a network has, what they add up to, whom they teach."""

from dataclasses import replace

import pytest
import torch

from stmga import STMGA, paper_config
from stmga.config import PAPER_CONFIGS
from stmga.train import IdentityHeads, Objective, TrainConfig
from stmga.train.losses import part_attention_loss
from stmga.train.objective import attention_target, build_objective, supervised
from tests.support.train import TINY, tiny

LABELS = torch.arange(6) // 2


def clips(seed=0):
    return torch.rand(6, 2, 3, 64, 32, generator=torch.Generator().manual_seed(seed))


def objective(net=TINY, **settings):
    torch.manual_seed(0)
    return Objective(STMGA(net), identities=3, config=TrainConfig(**settings)).train()


def shrunk(name):
    """A row of the paper on the smallest trunk."""
    return replace(paper_config(name), backbone="resnet18", stage="c4", size=(128, 32), clip_length=2)


@pytest.mark.parametrize(
    ("row", "features"),
    [
        ("table8/baseline", ["z_f"]),
        ("table8/p-mga", ["z_f", "z_c"]),
        ("table8/s-mga", ["p_g", "z_f", "z_c"]),
        ("table8/t-mga", ["z_f", "z_t"]),
        ("table8/t-mga,p-mga", ["z_f", "z_t", "z_c"]),
        ("table8/s-mga,t-mga", ["p_g", "z_f", "z_t", "z_c"]),
        ("table8/t-mga,s-mga", ["p_g", "z_f", "z_t", "z_c"]),
    ],
)
def test_a_network_has_the_terms_of_the_features_it_has(row, features):
    net = shrunk(row)
    assert supervised(net) == features
    terms = objective(net)(torch.rand(6, 2, 3, 128, 32), LABELS)
    expected = {f"{kind}/{name}" for kind in ("ce", "triplet") for name in features} | {"total"}
    assert set(terms) == expected | ({"pa", "pce"} if net.parts == "cpa" else set())


@pytest.mark.parametrize("row", [name for name in PAPER_CONFIGS if not name.startswith(("table4", "table7"))])
def test_every_row_of_the_paper_teaches_every_parameter(row):
    whole = objective(shrunk(row))
    whole(torch.rand(6, 2, 3, 128, 32), LABELS)["total"].backward()
    idle = [name for name, p in whole.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert idle == []


def test_the_total_is_the_weighted_sum():
    terms = objective(weight_pa=0.5, lambda_pce=0.2)(clips(), LABELS)
    plain = sum(value.item() for name, value in terms.items() if "/" in name)
    assert terms["total"].item() == pytest.approx(
        plain + 0.5 * terms["pa"].item() + 0.2 * terms["pce"].item(), abs=1e-5
    )


def test_a_weight_of_nothing_leaves_the_loss_out():
    whole = objective(weight_pa=0.0, lambda_pce=0.0)
    assert whole.part_classifier is None
    assert {"pa", "pce"}.isdisjoint(whole(clips(), LABELS))


def test_the_neck_of_the_tested_feature_is_the_networks_own():
    whole = objective()
    assert set(whole.heads.necks) == {"p_g", "z_f", "z_t"}
    before = whole.model.neck.running_mean.clone()
    whole(clips(), LABELS)
    assert not torch.equal(whole.model.neck.running_mean, before)


def test_the_triplet_takes_the_feature_before_or_after_its_neck():
    after, before = (objective(triplet_on=place)(clips(), LABELS) for place in ("post_bn", "pre_bn"))
    assert float(after["ce/z_c"]) == float(before["ce/z_c"])
    assert float(after["triplet/z_c"]) != float(before["triplet/z_c"])


def test_the_part_loss_teaches_the_parts_and_not_their_teacher():
    whole = objective()
    whole(clips(), LABELS)["pa"].backward()
    assert all(p.grad is None for p in whole.model.cpa.global_head.parameters())
    assert all(p.grad is not None for p in whole.model.cpa.part_heads.parameters())


@pytest.mark.parametrize("residual", ["direct", "none", "own_min", "shared_min"])
def test_the_residual_modes_compare_what_the_method_says(residual):
    model = tiny().train()
    cpa = model.forward_features(clips()).cpa
    parts, target = attention_target(cpa, residual)
    low = cpa.global_attention.amin((-2, -1), keepdim=True)
    wanted = {
        "direct": (cpa.part_attention, cpa.global_attention - low),
        "none": (cpa.part_attention, cpa.global_attention),
        "own_min": (cpa.part_attention - cpa.part_attention.amin((-2, -1), True), cpa.global_attention - low),
        "shared_min": (cpa.part_attention - low / 4, cpa.global_attention - low),
    }[residual]
    torch.testing.assert_close((parts, target), wanted)
    assert torch.isfinite(part_attention_loss(parts, target))


@pytest.mark.parametrize(
    ("settings", "share"),
    [({}, 0.4 / 4), (dict(residual="none"), 0.5 / 4), (dict(weight_pa=0.0), 0.5), (dict(residual="own_min"), 0.5)],
)
def test_the_parts_begin_where_their_loss_wants_them(settings, share):
    model = tiny()
    build_objective(model, 4, TrainConfig(**settings))
    assert torch.allclose(model.cpa.part_heads[-1].bias.sigmoid(), torch.tensor(share))


def test_the_parts_of_a_trained_network_stay_where_they_are():
    model = tiny()
    model.cpa.part_heads[-1].bias.data[0] = 0.5
    before = model.cpa.part_heads[-1].bias.clone()
    build_objective(model, 4, TrainConfig())
    assert torch.equal(model.cpa.part_heads[-1].bias, before)


def test_the_terms_are_full_precision_under_autocast():
    full, half = (objective(precision=p)(clips(), LABELS) for p in ("fp32", "bf16"))
    assert {t.dtype for t in half.values()} == {torch.float32}
    assert float(half["total"]) == pytest.approx(float(full["total"]), rel=0.05)
    assert float(half["total"]) != float(full["total"])


def test_frozen_stages_stay_and_the_rest_learns():
    model = tiny()
    whole = build_objective(model, 4, TrainConfig(frozen=("conv1", "bn1", "layer1"))).train()
    before = {name: t.clone() for name, t in model.backbone.state_dict().items()}
    whole(clips(), LABELS)["total"].backward()
    for name, parameter in model.backbone.named_parameters():
        first = name.split(".")[0] in ("conv1", "bn1", "layer1")
        assert (parameter.grad is None) == first == (not parameter.requires_grad), name
    for name, now in model.backbone.state_dict().items():
        if "running" in name:
            assert torch.equal(now, before[name]) == (name.split(".")[0] in ("conv1", "bn1", "layer1")), name
    build_objective(model, 4, TrainConfig()).train()  # free again
    assert all(p.requires_grad for p in model.parameters()) and model.backbone.layer1.training


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (("layer1",), "freeze conv1, bn1 too"),
        (("conv1", "layer9"), "no stage layer9 to freeze; the trunk's stages are"),
    ],
)
def test_only_first_stages_can_be_frozen(stages, words):
    with pytest.raises(ValueError, match=words):
        build_objective(tiny(), 4, TrainConfig(frozen=stages))


def test_recomputing_the_trunk_changes_no_bit():
    ends = []
    for stages in ((), ("conv1", "layer1", "layer3")):
        whole = objective()
        whole.model.backbone.recompute = stages
        terms = whole(clips(), LABELS)
        terms["total"].backward()
        ends.append((terms["total"].detach(), [p.grad for p in whole.parameters()], dict(whole.named_buffers())))
    (total, grads, buffers), (again, grads2, buffers2) = ends
    assert torch.equal(total, again)
    assert all(torch.equal(g, h) for g, h in zip(grads, grads2, strict=True))
    assert all(torch.equal(buffers[name], buffers2[name]) for name in buffers)  # running statistics moved once


def test_recomputing_keeps_less():
    kept = []
    for stages in ((), ("layer1", "layer2")):
        whole = objective()
        whole.model.backbone.recompute = stages
        own = {p.untyped_storage().data_ptr() for p in whole.parameters()}
        sizes: dict[int, int] = {}

        def pack(x, sizes=sizes, own=own):
            if x.untyped_storage().data_ptr() not in own:
                sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            whole(clips(), LABELS)
        kept.append(sum(sizes.values()))
    assert kept[1] < 0.7 * kept[0]


def test_heads_start_as_the_method_says():
    heads = IdentityHeads(64, identities=500, features=("z_f", "z_c"), final="z_c")
    weight = heads.classifiers["z_f"].weight
    assert float(weight.detach().std()) == pytest.approx(0.001, rel=0.05)
    assert not heads.classifiers["z_f"].bias.any()
    with pytest.raises(ValueError, match="at least 2 identities"):
        IdentityHeads(64, identities=1, features=("z_f",), final="z_f")
