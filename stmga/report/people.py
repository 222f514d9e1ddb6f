"""The page of identities: `report.html` and its pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.embedding.embeddings import Embeddings
from stmga.people.identities import Identities
from stmga.report.attentions import attention_picture, check_parts
from stmga.report.drawn import drawn_videos
from stmga.report.identities import page_data
from stmga.report.page import check_page, in_script, render, require_jinja, write_page
from stmga.report.picture_folder import PictureFolder
from stmga.report.wording import facts_of, left_out, meaning_of
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.tracklet import Tracklet
from stmga.utils.text import preview

if TYPE_CHECKING:
    from stmga.model import STMGA

PAGE, PICTURES = "report.html", "pictures"
FRAMES = 4  # of a tracklet, in the detail view


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        path: the page.
        pictures: how many there are, of which ``reused`` were there before.
        failed: why a tracklet has no picture, by tracklet.
        replaced: whether there was a page of other contents.
    """

    path: Path
    pictures: int
    reused: int
    failed: dict[str, str]
    replaced: bool


def write_report(
    identities: Identities,
    embeddings: Embeddings,
    folder: str | os.PathLike[str],
    *,
    tracklets: Sequence[Tracklet] = (),
    pictures: bool = True,
    parts: Collection[str] = (),
    model: STMGA | None = None,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: bool = False,
) -> Report:
    """Write ``folder/report.html`` and ``folder/pictures/``: every identity with its tracklets, times and verdicts.

    The page works from disk, without a server, and asks no host for anything. Pictures are JPEG files of middle frames,
    128 pixels high. The same call reuses them. The page is written last, whole or not at all.

    Args:
        identities: from :func:`stmga.link` with ``embeddings``.
        folder: created if missing; other files in it are left alone.
        tracklets: those of the embeddings, with frames on disk: the detail view then shows four frames of each.
        pictures: False writes no picture of anyone.
        parts: ids of ``tracklets`` whose part attentions are drawn, by ``model``.
        model: the network that made the embeddings.
        workers: threads that read and write pictures; default: one per processor, at most 8.
        max_pixels: larger pictures are not read.

    Raises:
        ValueError: the identities are of other embeddings; the folder has pictures of other tracklets, or a report.html
            that is not by stmga; a part of a tracklet that is not there.
        ImportError: Jinja2 is not installed.
        OSError: the folder cannot be written.

    >>> import tempfile, torch
    >>> from stmga import link
    >>> items = [{"tracklet": "a", "camera": 1}, {"tracklet": "b", "camera": 2}]
    >>> embeddings = Embeddings(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), items, digest="1f0c")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(link(embeddings, threshold=0.6), embeddings, folder, pictures=False).path.name
    'report.html'
    """
    folder = Path(folder)
    check_report(embeddings, folder, tracklets=tracklets, pictures=pictures, parts=parts, model=model)
    if [row.tracklet for row in identities] != embeddings.ids:
        raise ValueError("the identities are not of these embeddings: their tracklets differ, or their order")
    data = page_data(identities, embeddings)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        shown = _pictures(embeddings, folder, tracklets) if pictures else None
        if shown is not None:
            held.enter_context(shown.hold())
            shown.write(workers=workers, max_pixels=max_pixels, progress=progress)
            drawn = _draw_parts(shown, parts, model, embeddings, tracklets)
            data |= {"pictures": shown.masks, "parts": drawn}
        replaced = _write(identities, embeddings, folder / PAGE, data, shown)
    if shown is None:
        return Report(folder / PAGE, 0, 0, {}, replaced)
    return Report(folder / PAGE, shown.new + shown.reused, shown.reused, shown.failed, replaced)


def check_report(
    embeddings: Embeddings,
    folder: str | os.PathLike[str],
    *,
    tracklets: Sequence[Tracklet] = (),
    pictures: bool = True,
    parts: Collection[str] = (),
    model: STMGA | None = None,
) -> None:
    """Raise as :func:`write_report` does, for its folder, parts and model, before any work; changes nothing."""
    require_jinja()
    check_parts(parts, model, embeddings, tracklets, pictures)
    folder = Path(folder)
    check_page(folder / PAGE)
    if pictures:
        _pictures(embeddings, folder, tracklets).check()
    else:
        refuse_pictures(folder)


def refuse_pictures(folder: Path) -> None:
    """Raise ValueError if the folder has pictures or drawn videos: a report without any must not stand beside them."""
    if files := drawn_videos(folder):
        raise ValueError(f"{folder} has videos of people of an earlier run ({preview(file.name for file in files)}); "
                         "delete them, or name a new folder")  # fmt: skip
    if (folder / PICTURES).exists():
        raise ValueError(f"{folder / PICTURES} has pictures of an earlier report; delete it, or name a new folder")


def _pictures(embeddings: Embeddings, folder: Path, tracklets: Sequence[Tracklet]) -> PictureFolder:
    frames = FRAMES if tracklets else 0
    return PictureFolder(folder / PICTURES, embeddings.items, tracklets=tracklets, frames=frames)


def _draw_parts(
    shown: PictureFolder,
    parts: Collection[str],
    model: STMGA | None,
    embeddings: Embeddings,
    tracklets: Sequence[Tracklet],
) -> list[int]:
    """Draw the part attentions of these tracklets; returns their rows."""
    of_id = {tracklet.id: tracklet for tracklet in tracklets}
    wanted = [row for row, name in enumerate(embeddings.ids) if name in set(parts)]
    shown.remove_parts()
    for row in wanted:
        assert model is not None  # check_parts has seen to it
        shown.save_parts(row, attention_picture(model, of_id[embeddings.ids[row]]))
    return wanted


def _write(
    identities: Identities, embeddings: Embeddings, path: Path, data: Mapping[str, Any], shown: PictureFolder | None
) -> bool:
    """Write the page; whether there was one of other contents."""
    facts = list(facts_of(identities, embeddings, data))
    missing = list(left_out(identities, embeddings, data, shown))
    script = in_script(data)
    made_from = hashlib.sha256("\n".join([script, *_flat(facts), *missing]).encode()).hexdigest()[:16]
    before = check_page(path)
    page = render(
        "people",
        script,
        title="Who is who",
        made_from=made_from,
        facts=facts,
        left_out=missing,
        meaning=meaning_of(identities, embeddings, data),
    )
    write_page(path, page)
    return before not in ("", made_from)


def _flat(facts: Sequence[tuple[str, str]]) -> Iterator[str]:
    return (f"{name}: {value}" for name, value in facts)
