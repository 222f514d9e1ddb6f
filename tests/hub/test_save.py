"""Weights in a folder: bit-exact there and back, whole or in half precision, with their record."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from stmga.calibration import Calibration, Threshold
from stmga.hub import store as library
from stmga.hub.records import WeightRecord, WeightsError, read_record
from stmga.model import STMGA
from tests.support.hub import TINY, same, tiny

# ---------------------------------------------------------------------------------------------- folders


def test_round_trip_is_bit_exact(model, tmp_path):
    model.save_pretrained(tmp_path / "deep" / "folder")
    again = STMGA.from_pretrained(tmp_path / "deep" / "folder")
    clips = torch.randn(2, 2, 3, 32, 16)
    assert same(model, again)
    assert again.digest() == model.digest()
    assert torch.equal(again(clips), model(clips))
    assert not again.training
    assert all(p.requires_grad for p in again.parameters())


def test_a_folder_holds_three_files_and_its_own_digest(files):
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    data = json.loads(files["config.json"])
    assert data["library"] == "stmga"
    assert data["sha256"] == library._sha256(files["model.safetensors"])


def test_saving_twice_gives_the_same_bytes(model, files, tmp_path):
    for i in range(5):
        model.save_pretrained(tmp_path / str(i))
        assert (tmp_path / str(i) / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_loading_moves_no_random_number(files, tmp_path):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    before = torch.get_rng_state()
    STMGA.from_pretrained(tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_half_precision_is_saved_small_and_loaded_as_float32(tmp_path):
    half = tiny().to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    again = STMGA.from_pretrained(tmp_path)
    assert again.neck.weight.dtype == torch.float32
    assert (tmp_path / "model.safetensors").stat().st_size < 0.6 * sum(p.numel() * 4 for p in half.parameters())
    assert torch.equal(again.neck.running_mean, half.neck.running_mean.float())


# ---------------------------------------------------------------------------------------------- half precision


def test_half_a_file_is_the_rounded_network(tmp_path):
    model = tiny()
    model.save_pretrained(tmp_path, half=True)
    again, record = STMGA.from_pretrained(tmp_path), read_record(tmp_path)
    assert record.file_size == (tmp_path / "model.safetensors").stat().st_size
    assert record.file_size < 0.52 * sum(t.numel() * t.element_size() for t in model.state_dict().values())
    for name, parameter in model.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter.half().float()), name
    for name, buffer in model.named_buffers():
        assert torch.equal(again.get_buffer(name), buffer), name
    assert again.digest() != model.digest()


def test_a_half_file_loaded_and_saved_has_the_same_bytes(tmp_path):
    record = WeightRecord(name="stmga_tiny.half", config=TINY, sha256="0" * 64, licence="MIT")
    tiny().save_pretrained(tmp_path / "a", record=record, half=True)
    first = read_record(tmp_path / "a")
    for name, options in (("said", {"half": True}), ("as it came", {})):
        STMGA.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / name, **options)
        kept = read_record(tmp_path / name)
        assert kept == dataclasses.replace(first, folder=tmp_path / name)
        assert (tmp_path / name / first.file).read_bytes() == (tmp_path / "a" / first.file).read_bytes()
    tuned = STMGA.from_pretrained(tmp_path / "a")
    with torch.no_grad():
        tuned.neck.weight.add_(1e-5)
    tuned.save_pretrained(tmp_path / "tuned")  # whole: what is learnt from here on is finer than float16
    assert same(STMGA.from_pretrained(tmp_path / "tuned"), tuned)
    assert read_record(tmp_path / "tuned").name == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone.bn1.running_var", 1e6),  # above the largest float16
        ("backbone.bn1.running_var", 1e-9),  # below the smallest
        ("backbone.bn1.running_var", 3e-7),  # where it has two bits left
        ("backbone.bn1.running_mean", -1e5),
        ("backbone.bn1.weight", 1e6),
        ("backbone.bn1.weight", -1e-9),
        ("backbone.bn1.weight", 1.5e38),
    ],
)
def test_what_float16_cannot_hold_stays_whole(tmp_path, name, value):
    model = tiny()
    tensor = model.state_dict()[name]
    tensor.uniform_(1, 2).mul_(value)
    model.save_pretrained(tmp_path / "a", half=True)
    again = STMGA.from_pretrained(tmp_path / "a")
    assert torch.equal(again.state_dict()[name], tensor)
    assert torch.equal(again.backbone.conv1.weight, model.backbone.conv1.weight.half().float())
    again.save_pretrained(tmp_path / "b", half=True)
    assert read_record(tmp_path / "a").sha256 == read_record(tmp_path / "b").sha256


def test_a_variance_of_every_size_survives(tmp_path):
    model = tiny()
    variance = model.backbone.bn1.running_var
    variance.copy_(torch.logspace(-12, 12, len(variance)))
    model.save_pretrained(tmp_path, half=True)
    assert torch.equal(STMGA.from_pretrained(tmp_path).backbone.bn1.running_var, variance)


# ---------------------------------------------------------------------------------------------- what can be saved


def test_wrappers_and_their_prefixes_are_stripped(model, tmp_path):
    class Wrapper(torch.nn.Module):  # what DistributedDataParallel looks like to state_dict
        def __init__(self, module):
            super().__init__()
            self.module = module

    library.save(Wrapper(model), tmp_path / "ddp")
    library.save(torch.compile(model, backend="eager"), tmp_path / "compiled")
    partly = tiny()
    partly.backbone = torch.compile(partly.backbone, backend="eager")
    assert any("_orig_mod" in key for key in partly.state_dict())
    library.save(partly, tmp_path / "partly")
    for name in ("ddp", "compiled", "partly"):
        assert same(STMGA.from_pretrained(tmp_path / name), model)


def test_only_an_stmga_can_be_saved(tmp_path):
    with pytest.raises(WeightsError, match="not Linear"):
        library.save(torch.nn.Linear(2, 2), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_lost_a_part_is_not_saved(tmp_path):
    broken = tiny()
    broken.neck = torch.nn.Identity()
    with pytest.raises(WeightsError, match=r"this model .*missing \(neck\.weight"):
        broken.save_pretrained(tmp_path)


def test_the_record_is_kept_while_the_weights_are_what_it_says(model, tmp_path):
    record = WeightRecord(
        name="stmga_tiny.test",
        config=TINY,
        sha256="0" * 64,  # save fills it in
        metrics=({"data": "walkers", "mAP": 0.5},),
        training_data="rendered figures",
        licence="CC-BY-NC-4.0",
        terms="no pictures of people",
    )
    model.save_pretrained(tmp_path / "a", record=record)
    loaded = STMGA.from_pretrained(tmp_path / "a")
    loaded.save_pretrained(tmp_path / "b")
    kept = read_record(tmp_path / "b")
    size = (tmp_path / "b" / "model.safetensors").stat().st_size
    assert kept == dataclasses.replace(record, sha256=kept.sha256, file_size=size, folder=tmp_path / "b")
    with torch.no_grad():
        loaded.neck.weight.add_(1)
    loaded.save_pretrained(tmp_path / "c")
    tuned = read_record(tmp_path / "c")
    assert tuned.name == ""
    assert tuned.metrics == ()
    assert tuned.training_data == "Started from stmga_tiny.test. rendered figures"
    assert (tuned.licence, tuned.terms, tuned.parent) == (record.licence, record.terms, record.name)


def test_the_log_goes_where_the_weights_go(model, tmp_path):
    record = WeightRecord(name="stmga_tiny.test", config=TINY, sha256="0" * 64, log="log.jsonl")
    model.save_pretrained(tmp_path / "a", record=record)
    (tmp_path / "a" / "log.jsonl").write_text('{"epoch": 1}\n')
    loaded = STMGA.from_pretrained(tmp_path / "a")
    loaded.save_pretrained(tmp_path / "b")
    assert (tmp_path / "b" / "log.jsonl").read_text() == '{"epoch": 1}\n'
    torch.nn.init.constant_(loaded.neck.weight, 2)
    loaded.save_pretrained(tmp_path / "c")  # other weights, of which this is not the log
    assert not (tmp_path / "c" / "log.jsonl").exists()


def test_a_record_of_another_network_is_refused(model, tmp_path):
    other = WeightRecord(name="a.b", config=dataclasses.replace(TINY, gamma=8), sha256="0" * 64)
    with pytest.raises(WeightsError, match="config is not the model's"):
        model.save_pretrained(tmp_path, record=other)


def test_the_transform_belongs_to_the_record(files, tmp_path):
    record = WeightRecord.from_json(files["config.json"])
    assert record.transform().size == TINY.size


def calibration(digest: str) -> Calibration:
    points = tuple(Threshold(false_match_rate=r, similarity=s, true_match_rate=t) for r, s, t in POINTS)
    return Calibration(
        thresholds=points, lower=0.2, impostor_pairs=90_000, genuine_pairs=400, persons=40, roc=((0.5, 0.1, 0.9),),
        digest=digest, data="walkers",
    )  # fmt: skip


MEASURED = {"false_match_rate": 1e-3, "similarity": 0.5, "true_match_rate": 0.9}
POINTS = ((1e-2, 0.5, 0.9), (1e-3, 0.6, 0.8))


def test_a_record_survives_json():
    record = WeightRecord(
        name="a.b", config=TINY, sha256="0" * 64, metrics=({"mAP": 0.5},), revision="1" * 40, file_size=7,
        calibration=calibration("1f0c"), speed=({"frames/s": 60, "threads": 2},), training_command="stmga train ...",
        log="log.jsonl", frames=({"frames": 1, "mAP": 0.4, "thresholds": [MEASURED]},),
        camera_pairs=({"query camera": 1, "gallery camera": 2, "mAP": 0.4},), elsewhere=({"trained on": "x"},),
        stages=({"data": "walkers", "epochs": "2 of 2"},), parent="a.older",
    )  # fmt: skip
    again = WeightRecord.from_json(record.to_json())
    assert again == record
    assert (record.arch, record.tag) == ("a", "b")
    assert again.calibration.threshold(1e-2).similarity == 0.5
    assert again.calibration.roc == ()  # 200 points more than a record needs
    old = json.loads(record.to_json())
    for key in ("frames", "camera_pairs", "elsewhere", "stages", "parent"):
        del old[key]  # as a record from before they were there
    assert WeightRecord.from_json(json.dumps(old)) == dataclasses.replace(
        record, frames=(), camera_pairs=(), elsewhere=(), stages=(), parent=""
    )
    for key in ("frames", "camera_pairs", "elsewhere", "stages"):
        with pytest.raises(WeightsError, match=f"{key} must be a list of objects"):
            WeightRecord.from_json(json.dumps(old | {key: ["x"]}))
    with pytest.raises(WeightsError, match="parent must be a text"):
        WeightRecord.from_json(json.dumps(old | {"parent": 3}))


def test_published_means_a_repository_and_a_commit_of_it():
    record = WeightRecord(name="a.b", config=TINY, sha256="0" * 64)
    assert not record.published
    assert not dataclasses.replace(record, repo_id="me/b").published
    assert dataclasses.replace(record, repo_id="me/b", revision="1" * 40).published


def test_a_calibration_belongs_to_the_bytes(tmp_path):
    model = tiny()
    model.save_pretrained(tmp_path / "half", half=True)
    digest = STMGA.from_pretrained(tmp_path / "half").digest()
    record = WeightRecord(name="a.b", config=TINY, sha256="0" * 64, calibration=calibration(digest))
    model.save_pretrained(tmp_path / "a", record=record, half=True)
    assert STMGA.from_pretrained(tmp_path / "a").record.calibration.digest == digest
    with pytest.raises(WeightsError, match="measured with other weights"):
        model.save_pretrained(tmp_path / "b", record=record)
    assert not (tmp_path / "b").exists()
    changed = STMGA.from_pretrained(tmp_path / "a")
    with torch.no_grad():
        changed.neck.weight.add_(1)
    changed.save_pretrained(tmp_path / "c")
    assert read_record(tmp_path / "c").calibration is None
