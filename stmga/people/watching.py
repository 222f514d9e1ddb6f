"""Who comes by: every tracklet of a video, when it ends, compared with a gallery of known people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.gallery.person_gallery import PersonGallery
from stmga.people.sources import Video
from stmga.people.tracking import Job, TrackSettings
from stmga.tracklets.split import evenly
from stmga.tracklets.tracklet import Tracklet

NEW = "new-"  # the names of people who are enrolled without one


@dataclass(frozen=True)
class Seen:
    """A tracklet that has ended, and who it is.

    Attributes:
        tracklet: its id, ``<camera>-<number>``.
        camera: name of the camera.
        start, end: first and last frame, from 0.
        time, end_time: seconds on the clock of the camera; None if that is not known.
        frames: how many were used for the vector.
        person: the most similar person in the gallery; None if new, unless enrolled: then the name that was given.
        verdict: ``"known"``, ``"unsure"`` or ``"new"``.
        similarity: to that person, in -1..1; None while the gallery is empty.
        enrolled: whether it was added to the gallery.
    """

    tracklet: str
    camera: str
    start: int
    end: int
    time: float | None
    end_time: float | None
    frames: int
    person: str | None
    verdict: str
    similarity: float | None
    enrolled: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        similarity = None if self.similarity is None else round(self.similarity, 4)
        return asdict(self) | {"similarity": similarity}


def watch(
    video: Video | Job,
    gallery: PersonGallery,
    embedder: TrackletEmbedder,
    *,
    frames: int = 8,
    known: float = 1e-4,
    new: float = 1e-2,
    enrol_new: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Iterator[Seen]:
    """Each tracklet of a video or a live source as soon as it ends, with the person of the gallery it is.

    A tracklet ends one second after the person was last found (:data:`stmga.people.trackers.LOST`). Memory does not
    grow with the length of the video.

    Args:
        video: a file, ``NAME=file``, a device or an address; or a job with its settings.
        frames: of each tracklet, spread over it, that make its vector.
        known, new: false-match rates: "known" from the threshold of the first, "new" below that of the second.
        enrol_new: add new people to the gallery, as ``new-1``, ``new-2`` and so on. Others are never added.
        progress: show a bar.
        **settings: of :class:`stmga.people.tracking.TrackSettings`.

    Raises:
        ValueError: as :func:`stmga.people.track` and :meth:`stmga.Gallery.assign`; weights other than the gallery's.

    Example::

        with stmga.Gallery.open("people.db") as gallery:
            for seen in stmga.people.watch("door.mp4", gallery, TrackletEmbedder(model)):
                print(seen.person, seen.verdict)
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    if isinstance(video, Job) and settings:
        raise TypeError(f"a job has its settings already, got {', '.join(settings)}")
    job = video if isinstance(video, Job) else Job(video, TrackSettings(**settings))
    if len(job.sources) != 1:
        raise ValueError(f"watch takes one video, got {len(job.sources)}")
    _check(gallery, embedder, (known, new))
    with job.run(job.sources[0], progress) as run, embedder.fixed_weights():
        for _, tracklet in run.tracks(keep=frames):
            yield _seen(evenly(tracklet, frames), gallery, embedder, (known, new), enrol_new)


def _check(gallery: PersonGallery, embedder: TrackletEmbedder, rates: tuple[float, float]) -> None:
    """The errors of the first tracklet, before the first frame."""
    vector, digest = torch.zeros(1, embedder.model.dim, dtype=torch.float32, device="cpu"), embedder.digest()
    record = embedder.model.record
    known = record.calibration if record else None
    name = record.name if record else ""
    query = Embeddings(vector, [{"tracklet": "none"}], digest, name, calibration=known)
    gallery.assign(query, known=rates[0], new=rates[1])


def _seen(
    tracklet: Tracklet, gallery: PersonGallery, embedder: TrackletEmbedder, rates: tuple[float, float], enrol_new: bool
) -> Seen:
    embeddings = embedder([tracklet])
    # An earlier run over the same camera may have enrolled a tracklet of this name, which is not this one.
    query = replace(embeddings, items=[{**embeddings.items[0], "tracklet": f"watched/{tracklet.id}"}])
    found = gallery.assign(query, known=rates[0], new=rates[1])[0]
    person, enrolled = found.person, enrol_new and found.verdict == "new"
    if enrolled:
        person = _free(NEW, gallery.persons)
        item = {**embeddings.items[0], "tracklet": f"{person}/{tracklet.id}"}
        gallery.enrol(person, replace(embeddings, items=[item]))
    extra = tracklet.extra
    return Seen(
        tracklet.id, str(tracklet.camera), extra["start"], extra["end"], tracklet.time, extra.get("end_time"),
        len(tracklet), None if person is None else str(person), found.verdict, found.similarity, enrolled,
    )  # fmt: skip


def _free(start: str, names: Any) -> str:
    """The first of start + 1, start + 2, ... that is not a name yet."""
    number = 1
    while f"{start}{number}" in names:
        number += 1
    return f"{start}{number}"
