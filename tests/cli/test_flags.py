"""Messages name the flag that was typed, not the Python argument behind it."""

import pytest

from stmga.cli.flags import in_flags

FLAGS = {
    "backbone_weights": "--backbone-weights",
    "holdout": "--holdout",
    "flip": "--flip",
    "flip=True": "--flip",
    "persons": "--set persons",
    "int8": "--int8",
}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("give that file as backbone_weights.", "give that file as --backbone-weights."),
        ('backbone_weights="imagenet"', '--backbone-weights "imagenet"'),
        ("use persons=4 or fewer", "use --set persons=4 or fewer"),
        ("embed them with flip=True (--flip)", "embed them with --flip"),
        ("x has a test: leave holdout at 0", "x has a test: leave --holdout at 0"),
        ("int8 needs at least 32 frames", "--int8 needs at least 32 frames"),
        ("flip must be in 0..1; persons must be >= 2", "--flip must be in 0..1; --set persons must be >= 2"),
    ],
)
def test_arguments_become_flags(message, expected):
    assert in_flags(message, FLAGS) == expected


@pytest.mark.parametrize(
    "message",
    [
        "/data/backbone_weights/x is damaged",
        "no file 'backbone_weights'",
        "run.backbone_weights was 1, now 2",
        "the share of the holdout is 3 persons",
        "5 persons are too few",
        "--holdout is a share",
        "writing a.onnx in int8 needs nncf: pip install 'stmga[int8]'",
        "it has no setting 'x'; it has backbone_weights, flip, persons",
    ],
)
def test_other_words_stay(message):
    assert in_flags(message, FLAGS) == message


MANIFEST, EMBEDDINGS, MODEL = "crops/manifest.jsonl", "all.safetensors", "tiny"
TRAIN = f"train --data {MANIFEST} -o new -q"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (f"{TRAIN} --lr 0", "invalid TrainConfig: --lr must be > 0, got 0.0"),
        (f"{TRAIN} --seed -1", "--seed must be >= 0, got -1"),
        (f"{TRAIN} --set persons=1", "--set persons must be >= 2, got 1"),
        (f"{TRAIN} --set lr=0", "--set lr must be > 0, got 0"),
        (f"{TRAIN} --set frozen=x --set weight_pa=-1", "--set weight_pa must be >= 0, got -1"),
        (f"{TRAIN} --set compile=true --set recompute=layer1", "--set compile and --set recompute exclude each other"),
        (f"{TRAIN} --size 4 4", "--size must be from 16 to 2048, got [4, 4]"),
        (f"{TRAIN} --from {MODEL} --size 4 4", "--size must be from 16 to 2048, got [4, 4]"),
        (f"{TRAIN} --net clip_length=0", "--net clip_length must be from 1 to 1024, got 0"),
        (f"{TRAIN} --backbone-missing layer4", "give that file as --backbone-weights"),
        (f"{TRAIN} --split 3", "leave --split at 0, got 3"),
        (f"{TRAIN} --dataset x", "--dataset is one of auto"),
        (f"{TRAIN} --holdout 2", "--holdout is a share of the persons"),
        (f"ablate table8 --data {MANIFEST} -o new --backbone x", "--backbone must be one of 'resnet18'"),
        (f"ablate table8 --data {MANIFEST} -o new --stage c9", "--stage must be one of 'c5', 'c4', got 'c9'"),
        (f"embed {MANIFEST} -o e.safetensors --model stmga_resnet50 --backbone-missing layer4",
         "--backbone-missing says what a trunk's file lacks; give that file as --backbone-weights."),
        (f"embed {MANIFEST} -o e.safetensors --model {MODEL} --workers -1", "--workers at least 0"),
        (f"embed {MANIFEST} -o e.safetensors --model {MODEL} --revision a", "leave --revision out"),
        (f"embed {MANIFEST} -o e.safetensors --model {MODEL} --device cpu --decode device", '--decode "device" is for'),
        (f"export -o x.pt2 --model {MODEL} --opset 18", "--opset 18 is of ONNX"),
        (f"export -o x.onnx --model {MODEL} --frames 0 3", "--frames is a (height, width) of 1 to 8,192 pixels"),
        (f"eval {EMBEDDINGS} {EMBEDDINGS}", "--queries-in-gallery would put them there twice; use --no-queries-in"),
        (f"eval {EMBEDDINGS} {EMBEDDINGS} --junk 1 --distractors 1", "cannot be both --junk and --distractors"),
        (f"search {EMBEDDINGS} {EMBEDDINGS} --threshold 3", "--threshold is a cosine in -1..1, got 3.0"),
        (f"calibrate {EMBEDDINGS} --rates 2", "--rates must be between 0 and 1"),
        (f"pack {MANIFEST} new.pack --split 3", "leave --split at 0, got 3"),
        ("walkers new --similar-clothes 3", "--similar-clothes 3.0: give a number from 0 to 1"),
        ("walkers new --train-persons -1", "--train-persons -1: give a whole number"),
        ("walkers new --train-persons 0 --test-persons 0", "--train-persons and --test-persons are both 0"),
        ("walkers new --cameras 1", "a test needs --cameras 2 or more, got 1: own camera is left out; or set --test"),
        (f"teacher {MODEL} --data {MANIFEST} -o t.safetensors --workers -1", "--workers at least 0"),
        ("demo --seed -1", "--seed -1: give a whole number"),
    ],
)  # fmt: skip
def test_commands_name_the_flag_that_was_typed(fails, place, monkeypatch, typed, message):
    monkeypatch.chdir(place)
    assert message in fails(*typed.split())
