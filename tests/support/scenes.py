"""A small scene in which everything happens, and the spec of arguments of `write_scenes`."""

from __future__ import annotations

from typing import Any

from stmga.data.walkers.filming import Sighting
from stmga.data.walkers.scene_spec import SceneSpec
from stmga.data.walkers.spec import DIFFICULTIES

SMALL: dict[str, Any] = {"cameras": 2, "persons": 14, "seconds": 30, "fps": 5, "size": (120, 200), "difficulty": "easy"}
Truth = dict[str, list[Sighting]]  # by camera


def spec_of(options: dict[str, Any]) -> SceneSpec:
    return SceneSpec(**options | {"difficulty": DIFFICULTIES[options.get("difficulty", "medium")]})
