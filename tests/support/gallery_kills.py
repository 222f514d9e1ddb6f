"""A gallery in a file whose writer is killed at random moments: no vector is lost, and none is left after `forget`.

``python -m tests.support.gallery_kills FOLDER [KILLS] [people.lance]`` is the long form of the test: 40 kills.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmga import Gallery
from stmga.gallery import LanceGallery, SqliteGallery
from tests.support.gallery import embeddings
from tests.support.kills import ENVIRONMENT

DIM = 64
State = dict[str, tuple[dict[str, Any], bytes]]  # by id: the item and the bytes of the vector


def operation(number: int, state: State) -> tuple[str, Any]:
    """What comes after a state: the same every time. Names never come twice, so that traces can be found."""
    dice = random.Random(number)
    persons = sorted({item["person"] for item, _ in state.values()})
    kind = dice.choice(["enrol", "enrol", "forget", "remove", "update"]) if len(persons) > 3 else "enrol"
    if kind == "enrol":
        items = [{"tracklet": f"track{number:06}x{i}", "camera": i % 3} for i in range(dice.randint(1, 300))]
        return kind, (f"person{number:06}", embeddings(items, seed=number, dim=DIM))
    if kind == "forget":
        return kind, dice.choice(persons)
    ids = dice.sample(sorted(state), dice.randint(1, min(50, len(state))))
    if kind == "remove":
        return kind, ids
    items = [{"tracklet": name, "camera": f"camera{number:06}", "person": state[name][0]["person"]} for name in ids]
    return kind, embeddings(items, seed=number, dim=DIM)


def applied(state: State, kind: str, what: Any) -> State:
    """The state after an operation."""
    if kind == "enrol":
        person, new = what
        return state | {i["tracklet"]: (i | {"person": person}, v.numpy().tobytes()) for i, v in new}
    if kind == "forget":
        return {name: row for name, row in state.items() if row[0]["person"] != what}
    if kind == "remove":
        return {name: row for name, row in state.items() if name not in what}
    return state | {item["tracklet"]: (item, vector.numpy().tobytes()) for item, vector in what}


def perform(gallery: SqliteGallery | LanceGallery, kind: str, what: Any) -> None:
    getattr(gallery, kind)(*(what if kind == "enrol" else (what,)))


def read(gallery: SqliteGallery | LanceGallery) -> State:
    """What the file holds."""
    if not len(gallery):
        return {}
    return {item["tracklet"]: (item, vector.numpy().tobytes()) for item, vector in gallery.embeddings}


def traces(folder: Path, ever: State, state: State) -> list[str]:
    """Which tracklets and persons that are gone have left a name, or 16 bytes of a vector, in a file of a folder."""
    data = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file()).ljust(16)
    gone = {name: row for name, row in ever.items() if name not in state}
    persons = {item["person"] for item, _ in ever.values()} - {item["person"] for item, _ in state.values()}
    names = re.findall(rb'"(track\d+x\d+|person\d+)"', data)
    found = {name for name in map(bytes.decode, names) if name in gone or name in persons}
    pieces = {vector[i : i + 16]: name for name, (_, vector) in gone.items() for i in range(0, len(vector), 80)}
    starts = np.array([int.from_bytes(piece[:8], "little") for piece in pieces], "<u8")
    for shift in range(8):  # at any place of the file
        words = np.frombuffer(data, "<u8", (len(data) - shift) // 8, shift)
        hits = (np.flatnonzero(np.isin(words, starts)) * 8 + shift).tolist()
        found |= {pieces[piece] for piece in (data[at : at + 16] for at in hits) if piece in pieces}
    return sorted(found)


def check(folder: Path, kills: int, seed: int = 0, name: str = "people.db") -> int:
    """Kill a writer so often; returns how many operations were done."""
    folder.mkdir(parents=True, exist_ok=True)
    log, place, dice = folder.parent / f"{folder.name}.log", folder / name, random.Random(seed)
    state: State = {}
    ever: State = {}
    number = 0
    for _ in range(kills):
        command = [sys.executable, "-m", "tests.support.gallery_kills", "--write", str(place), str(log), str(number)]
        log.write_text("")
        process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE)
        while not log.read_text() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.5))
        process.kill()
        _, errors = process.communicate()
        assert process.returncode == -9, errors.decode()
        done = log.read_text().count("\n") - 1  # the first line says that it has begun
        for _ in range(done):
            state = applied(state, *operation(number, state))
            ever |= state
            number += 1
        after = applied(state, *operation(number, state))
        with Gallery.open(place) as gallery:
            found = read(gallery)
        assert found in (state, after), f"after operation {number} the gallery is in neither state"
        if found == after:
            state, number = after, number + 1
        ever |= state
        assert traces(folder, ever, state) == []
    return number


def write(place: Path, log: Path, number: int) -> None:
    """Operation after operation, each noted when it is done."""
    with Gallery.open(place) as gallery, log.open("a") as notes:
        state = read(gallery)
        print("begun", file=notes, flush=True)
        while True:
            kind, what = operation(number, state)
            perform(gallery, kind, what)
            state, number = applied(state, kind, what), number + 1
            print(number, file=notes, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    done = check(Path(sys.argv[1]).absolute() / "gallery", most, name=(sys.argv[3:] or ["people.db"])[0])
    print(f"{most} kills in {done} operations: nothing lost, nothing left of what was forgotten")  # noqa: T201
