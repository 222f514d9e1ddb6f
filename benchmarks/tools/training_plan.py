"""A plan: the stages that train a weight, as data; and the `stmga train` command of each.

A plan is a JSON file; those of the published weights are in benchmarks/tools/plans/:

    {"about": "what it trains", "data": ["market1501-867", "cuhk03-1367"], "test": "mars8-dev",
     "common": {"precision": "bf16", "set": {"erase": 0.4}},
     "stages": [{"name": "crops", "model": "stmga_resnet18_c4_baseline", "recipe": "crops", "size": [128, 64], ...},
                {"name": "heads", "after": "crops", "model": "stmga_resnet18_c4", "recipe": "clips", ...}]}

``data`` and ``test`` are folders of --data. The keys of a stage are the options of `stmga train`, with _ for -; ``set``
and ``net`` are objects. ``common`` applies to every stage that does not override it. ``"after": STAGE`` carries
everything over: network, necks, classifiers and Adam's moments; ``"from": STAGE`` the weights alone. {data} and {runs}
in a text are the folder of the data and that of all runs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stmga.cli.main import build_parser
from stmga.config import ARCHITECTURES, STMGAConfig
from stmga.hub.records import read_record
from stmga.train import TrainConfig, recipe
from stmga.utils.text import did_you_mean
from stmga.zoo import is_name

PLANS = Path(__file__).resolve().parent / "plans"
TOP = {"about": "", "data": None, "test": None, "common": {}, "stages": None}
GIVEN = ("command", "data", "test", "out", "device", "workers", "quiet", "tensorboard", "dataset", "layout", "split")
GIVEN += ("holdout", "holdout_seed")  # what the script says itself, or what research data has no use for
RENAMED = {"start": "from", "changes": "set", "network": "net"}  # argparse's name -> the option's
DIRECT = ("epochs", "lr", "seed", "precision")  # of the configuration, but options of their own
NEEDED = ("name", "recipe", "size", "clip_length")


def options() -> dict[str, Any]:
    """The options of `stmga train` that a stage can have, as keys, with their defaults."""
    parsed = vars(build_parser().parse_args(["train", "--data", "x", "-o", "y"]))
    return {RENAMED.get(name, name): default for name, default in parsed.items() if name not in GIVEN}


@dataclass(frozen=True)
class Stage:
    """One run of a plan: its ``name``, and the options of `stmga train` as ``words``."""

    name: str
    words: Mapping[str, Any]

    def config(self) -> TrainConfig:
        """What the run is trained with; ValueError for a setting that does not exist."""
        direct = {key: self.words[key] for key in DIRECT if key in self.words}
        return recipe(self.words["recipe"], **self.words.get("set", {}), **direct)

    def pixels(self) -> int | None:
        """Of all its batches together: what its time is about proportional to. None without ``steps``."""
        c, (height, width) = self.config(), self.words["size"]
        steps = c.steps and c.steps * c.epochs
        return steps and steps * c.persons * c.clips * self.words["clip_length"] * height * width

    def rehearsal(self, steps: int) -> "Stage":
        """The same for so many steps, and no validation."""
        return replace(self, words={**self.words, "epochs": 1, "set": {**self.words.get("set", {}), "steps": steps}})

    def begun_from(self, weights: str) -> "Stage":
        """The same from these weights alone, which bring the network; ValueError if it is another than the stage's."""
        own = ("after", "from", "model", "net", "backbone_weights", "backbone_missing")
        if "from" not in self.words:
            shape = {"size": tuple(self.words["size"]), "clip_length": self.words["clip_length"]}
            name = self.words.get("model", "stmga_resnet18_c4")
            wanted = STMGAConfig.from_dict({**ARCHITECTURES[name].to_dict(), **self.words.get("net", {}), **shape})
            if replace(read_record(weights).config, **shape) != wanted:
                raise ValueError(f"{weights} is not the network of stage {self.name}, which trains {name}")
        return replace(self, words={**{k: v for k, v in self.words.items() if k not in own}, "from": weights})


@dataclass(frozen=True)
class Plan:
    """A weight's training: sets to train on, the set that validates (or None), and the stages in order."""

    name: str
    data: Sequence[str]
    test: str | None
    stages: Sequence[Stage]

    def command(self, stage: Stage, data: Path, runs: Path, folder: Path) -> list[str]:
        """What to type after `stmga`, without device and workers; ``folder`` has a run for each stage."""
        words = ["train", "--data", *(str(manifest(data, name)) for name in self.data)]
        if self.test:
            words += ["--test", str(manifest(data, self.test))]
        names = {other.name for other in self.stages}
        for key, value in stage.words.items():
            if key in ("after", "from") and value in names:
                value = str(folder / value / "last" if key == "from" else folder / value)
            words += _option(key, value, data, runs)
        return [*words, "--out", str(folder / stage.name)]


def manifest(data: Path, name: str) -> Path:
    """The manifest of a set of --data; FileNotFoundError if it has none."""
    for file in ("index.jsonl", "manifest.jsonl"):
        if (data / name / file).is_file():
            return data / name / file
    raise FileNotFoundError(
        f"{data / name} has no index.jsonl; benchmarks.tools.research_data writes the research sets"
    )


def _option(key: str, value: Any, data: Path, runs: Path) -> list[str]:
    """An option of the command line: an object is repeated as KEY=VALUE, a list of a repeatable option item by item."""
    option = f"--{key.replace('_', '-')}"
    if isinstance(value, Mapping):
        return [word for name, x in value.items() for word in (option, f"{name}={json.dumps(x)}")]
    items = [str(x).replace("{data}", str(data)).replace("{runs}", str(runs)) for x in _listed(value)]
    return [word for x in items for word in (option, x)] if isinstance(options()[key], list) else [option, *items]


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def read_plan(source: str | Path) -> Plan:
    """A plan of benchmarks/tools/plans/ by name, or that of a JSON file, checked before anything is trained.

    Raises:
        FileNotFoundError: no such plan.
        ValueError: everything that is wrong with it, together.
    """
    path = Path(source) if Path(source).suffix == ".json" else PLANS / f"{source}.json"
    if not path.is_file():
        known = sorted(file.stem for file in PLANS.glob("*.json"))
        hint = did_you_mean(str(source), known) or f"choose one of {', '.join(known)}"
        raise FileNotFoundError(f"there is no plan {source}; {hint}")
    try:
        content = json.loads(path.read_text("utf-8"))
        faults = [*_faults(content)]
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a plan: {error}") from error
    if faults:
        raise ValueError(f"{path}: {'; '.join(faults)}")
    stages = [_merged(content.get("common", {}), stage) for stage in content["stages"]]
    return Plan(path.stem, content["data"], content.get("test"), stages)


def _merged(common: Mapping[str, Any], stage: Mapping[str, Any]) -> Stage:
    words = {**common, **stage}
    for key in ("set", "net"):
        if key in common and key in stage:
            words[key] = {**common[key], **stage[key]}
    return Stage(words.pop("name"), words)


def _faults(content: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown("the plan", content, list(TOP))
    for key in ("data", "stages"):
        if not isinstance(content.get(key), list) or not content[key]:
            yield f"{key} must be a list with at least one entry, got {content.get(key)!r}"
    common, known, before = content.get("common", {}), [*options(), "name"], []
    yield from _unknown("common", common, known)
    for number, stage in enumerate(content.get("stages") or [], 1):
        title = f"stage {stage.get('name', number)}"
        unknown = list(_unknown(title, stage, known))
        missing = [key for key in NEEDED if key not in common | stage]
        yield from unknown
        if missing:
            yield f"{title} lacks {', '.join(missing)}"
        if stage.get("name") in before:
            yield f"{title} comes twice"
        yield from _wrong_start(title, stage, before)
        before.append(stage.get("name"))
        if not (unknown or missing):
            try:
                _merged(common, stage).config()
            except (ValueError, TypeError) as error:
                yield f"{title}: {error}"


def _unknown(title: str, found: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    for key in found:
        if key not in known:
            yield f"{title} has an unknown key {key!r}; {did_you_mean(key, known) or 'known are ' + ', '.join(known)}"


def _wrong_start(title: str, stage: Mapping[str, Any], before: Sequence[str]) -> Iterator[str]:
    """A stage starts from one before it, from a folder (with a /), or from a weight with a name."""
    starts = [key for key in ("after", "from") if key in stage]
    if len(starts) > 1:
        yield f"{title} has both after and from; give one"
    for key in starts:
        value = str(stage[key])
        if value not in before and "/" not in value and not (key == "from" and is_name(value)):
            yield f"{title} starts {key} {value!r}, which is not a stage before it ({', '.join(before) or 'none'})"
