"""`stmga ablate`: the tables of the paper."""

import json
from dataclasses import replace

import pytest

from stmga import STMGA
from tests.support.cli import SMALL


def test_ablate_shows_the_table_beside_the_papers_and_goes_on(run, data, tmp_path, monkeypatch):
    arguments = [
        "ablate", "table8", "--rows", "baseline", "s-mga", "--seeds", 2, "--data", data / "data/manifest.jsonl",
        "--backbone", "resnet18", "--stage", "c4", "--size", 64, 32, "-o", tmp_path / "t8", *SMALL, "--epochs", 1,
        "--set", "eval_every=0",
    ]  # fmt: skip
    code, out, err = run(*arguments)
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if line.startswith("s-mga")]
    assert line.split()[1] == "2"
    assert line.split()[-4:] == ["86.9", "90.9", "97.2", "98.1"]
    table = json.loads((tmp_path / "t8/table8.json").read_text())
    assert [len(row["scores"]) for row in table["rows"]] == [2, 2]
    assert (tmp_path / "t8/s-mga/seed-1/last/model.safetensors").is_file()

    from stmga.train import Trainer

    monkeypatch.setattr(Trainer, "step", None)  # all of it is there already
    code, again, err = run(*arguments)
    assert code == 0, err
    assert again.splitlines()[-6:] == out.splitlines()[-6:]
    code, _, err = run(*arguments, "--clip-length", 3)  # and is not taken for what it is not
    assert code == 1
    assert "network.clip_length was 8, now 3" in err


def test_the_rows_of_table_4_begin_where_their_losses_want_them(data, tmp_path, monkeypatch):
    from stmga.data import load_benchmark
    from stmga.train import TrainConfig, ablation, paper_tables
    from stmga.train.objective import build_objective

    starts = {}

    def peek(model, benchmark, config, place, **options):
        build_objective(model, 2, config)
        starts[place.parent.name] = model.cpa.part_heads[-1].bias[0].sigmoid().item() if model.cpa else None
        raise StopIteration

    monkeypatch.setattr(ablation, "train", peek)
    benchmark, trunk = load_benchmark(data / "data/manifest.jsonl"), {"backbone": "resnet18", "stage": "c4"}
    for row in ("baseline", "no-loss", "pce", "pce+pa", "pce+pa+res"):
        with pytest.raises(StopIteration):
            paper_tables.run_table("table4", benchmark, TrainConfig(), tmp_path, build=STMGA, trunk=trunk, rows=[row])
    assert starts == pytest.approx({"baseline": None, "no-loss": 0.5, "pce": 0.5, "pce+pa": 0.125, "pce+pa+res": 0.1})


def test_the_rows_of_table_4_differ_in_their_losses():
    from stmga.config import PAPER_CONFIGS
    from stmga.train import TrainConfig
    from stmga.train.paper_tables import PAPER, TRAINING

    assert set(PAPER) == set(PAPER_CONFIGS)
    configs = [
        replace(TrainConfig(), **TRAINING.get(f"table4/{row}", {}))
        for row in ("no-loss", "pce", "pce+pa", "pce+pa+res")
    ]
    assert [(c.lambda_pce > 0, c.weight_pa > 0, c.residual == "direct") for c in configs] == [
        (False, False, True), (True, False, True), (True, True, False), (True, True, True),
    ]  # fmt: skip


def test_mistakes_of_ablate_are_named(fails, data, tmp_path):
    base = ["--data", data / "data/manifest.jsonl", "-o", tmp_path / "t"]
    assert "there is no 'table9'" in fails("ablate", "table9", *base)
    assert "table8 has no row 'smga'; did you mean 's-mga'" in fails("ablate", "table8", "--rows", "smga", *base)


def test_figure_6_over_lambda_and_tau_and_goes_on(run, data, tmp_path, monkeypatch):
    arguments = [
        "ablate", "figure6", "--lambda", 0.1, 1, "--tau", 0.05, 0.5, "--seeds", 1, "--backbone", "resnet18",
        "--data", data / "data/manifest.jsonl", "--stage", "c4", "--size", 64, 32, "-o", tmp_path / "f6", *SMALL,
        "--epochs", 1, "--set", "eval_every=0",
    ]  # fmt: skip
    code, out, err = run(*arguments)
    assert code == 0, err
    found = json.loads((tmp_path / "f6/figure6.json").read_text())
    assert [(p["lambda_pce"], p["tau"]) for p in found["points"]] == [(0.1, 0.05), (1.0, 0.05), (0.1, 0.5)]
    assert all(len(p["scores"]) == 1 and 0 <= p["scores"][0]["mAP"] <= 100 for p in found["points"])
    for place, weight, tau in (("lambda_1,tau_0.05", 1.0, 0.05), ("lambda_0.1,tau_0.5", 0.1, 0.5)):
        folder = tmp_path / "f6" / place / "seed-0"
        assert json.loads((folder / "last/config.json").read_text())["config"]["tau"] == tau
        assert f'"lambda_pce": {weight}' in next(folder.glob("*.json")).read_text()
    (line,) = [line for line in out.splitlines() if line.startswith("1 ")]
    assert line.split()[:3] == ["1", "0.05", "1"]
    picture = (tmp_path / "f6/figure6.png").read_bytes()

    from stmga.train import Trainer

    monkeypatch.setattr(Trainer, "step", None)  # all of it is there already
    code, again, err = run(*arguments)
    assert code == 0, err
    assert again.splitlines()[-6:] == out.splitlines()[-6:]
    assert (tmp_path / "f6/figure6.png").read_bytes() == picture


def test_mistakes_of_figure_6_are_named(fails, data, tmp_path):
    base = ["--data", data / "data/manifest.jsonl", "-o", tmp_path / "t"]
    assert "--lambda and --tau are for figure6, and this is table8" in fails("ablate", "table8", "--tau", 1, *base)
    assert "--rows is for tables" in fails("ablate", "figure6", "--rows", "s-mga", *base)
    assert "would undo it: give its values as --tau" in fails("ablate", "figure6", "--net", "tau=0.3", *base)
    assert "takes finite numbers > 0, got [0.0]" in fails("ablate", "figure6", "--tau", 0, *base)
    assert "takes each value once, got [0.1, 0.1]" in fails("ablate", "figure6", "--lambda", 0.1, 0.1, *base)
    assert "needs values of lambda or tau" in fails("ablate", "figure6", "--lambda", "--tau", *base)
