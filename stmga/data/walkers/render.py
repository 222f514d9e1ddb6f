"""Rendered walkers: people, cameras and tracklets made from numbers, so that everything runs with no download.

A person (clothes, proportions, gait) depends only on `seed` and the person's number, a camera (scene, light, optics)
only on `seed` and the camera's number. Viewpoint, phase of the gait, occluder and errors of the detector belong to the
tracklet. The same arguments give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stmga.data.walkers.crops import Crops, Walk, rendered
from stmga.data.walkers.shot import Shot
from stmga.data.walkers.spec import WalkerOptions, WalkerSpec, check_int, spec_from
from stmga.tracklets.tracklet import Tracklet

if TYPE_CHECKING:
    from typing_extensions import Unpack


def render_tracklet(person: int, camera: int, *, tracklet: int = 0, **options: Unpack[WalkerOptions]) -> np.ndarray:
    """(t, h, w, 3) uint8: one walking person as the crops of a surveillance camera.

    Args:
        person, camera, tracklet: numbers of the person, the camera and this person's tracklet there, from 0.
        options: `frames` (a number here), `size`, `seed`, `occlusion`, `shift`, `similar_clothes`: see `WalkerSpec`.

    Raises:
        ValueError: a number below 0, a share outside 0..1, no frames, a size below 16 pixels.

    >>> render_tracklet(3, 0, frames=4, occlusion=0).shape
    (4, 128, 64, 3)
    """
    return _shot(person, camera, tracklet, spec_from(options)).render(labels=False)[0]


def render_labelled(
    person: int, camera: int, *, tracklet: int = 0, **options: Unpack[WalkerOptions]
) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of `render_tracklet`, and the `Label` of each pixel, (t, h, w) uint8, from the same drawing.

    >>> frames, labels = render_labelled(3, 0, frames=4, occlusion=0)
    >>> labels.shape, int(labels.max()) < 6
    ((4, 128, 64), True)
    """
    return _shot(person, camera, tracklet, spec_from(options)).render(labels=True)


def render_walkers(
    persons: int = 16, *, first: int = 0, cameras: int = 2, tracklets: int = 1, **options: Unpack[WalkerOptions]
) -> list[Tracklet]:
    """Every person in every camera, in memory; person and camera are their numbers.

    `extra["role"]` is "query" for the first tracklet of camera 0 and "gallery" for all others. Persons are `first` to
    `first + persons - 1`, the same people as in a set that begins at 0: sets that share no number share nobody.

    Args:
        persons, cameras: how many there are of each.
        first: number of the first person.
        tracklets: of each person in each camera.
        options: `frames`, `size`, `seed`, `occlusion`, `shift`, `similar_clothes`: see `WalkerSpec`.

    Raises:
        ValueError: a value out of its range.

    >>> people = render_walkers(2, cameras=2, frames=(3, 5))
    >>> [(t.id, t.extra["role"]) for t in people][:2]
    [('p0000_c0_t0', 'query'), ('p0000_c1_t0', 'gallery')]
    """
    spec = spec_from(options)
    return [rendered(spec, walk) for walk in _walks(persons, first, cameras, tracklets, spec)]


def write_walkers(
    folder: str | Path,
    persons: int = 16,
    *,
    first: int = 0,
    cameras: int = 2,
    tracklets: int = 1,
    quality: int = 90,
    **options: Unpack[WalkerOptions],
) -> Path:
    """`render_walkers` as JPEG crops `folder/<tracklet>/<frame>.jpg`; returns the path of `folder/manifest.jsonl`.

    `folder/walkers.json` has the arguments. After an interruption, the same call resumes. A folder with other contents
    is refused, so that two sets are never mixed.

    Args:
        folder: new, empty, or of the same call.
        quality: of the JPEG files.

    Other arguments and errors as in `render_walkers`. A folder with other contents is a ValueError.

    >>> import tempfile
    >>> write_walkers(Path(tempfile.mkdtemp()) / "walkers", persons=1, frames=2).name
    'manifest.jsonl'
    """
    spec = spec_from(options)
    walks = _walks(persons, first, cameras, tracklets, spec)
    counts = {"persons": persons, "first": first, "cameras": cameras, "tracklets": tracklets}
    crops = Crops(Path(folder).absolute(), spec, quality=check_int("quality", quality, 1))
    return crops.write(walks, {**counts, **asdict(spec), "quality": quality})


def _shot(person: int, camera: int, tracklet: int, spec: WalkerSpec) -> Shot:
    return Shot(spec, person, camera, tracklet, check_int("frames", spec.frames, 1))  # one tracklet has one length


def _walks(persons: int, first: int, cameras: int, tracklets: int, spec: WalkerSpec) -> Iterator[Walk]:
    """Every tracklet, in order; the arguments are checked at once."""
    for name, value in (("persons", persons), ("cameras", cameras), ("tracklets", tracklets)):
        check_int(name, value, 1)
    check_int("first", first, 0)
    shortest, longest = spec.lengths
    lengths = np.random.default_rng([spec.seed, 4])
    for _ in range(first * cameras * tracklets):  # one draw at a time, as if the earlier persons had been rendered
        lengths.integers(shortest, longest + 1)
    return (
        Walk(
            "query" if camera == 0 and number == 0 else "gallery",
            person, camera, number, int(lengths.integers(shortest, longest + 1)),
        )
        for person in range(first, first + persons)
        for camera in range(cameras)
        for number in range(tracklets)
    )  # fmt: skip
