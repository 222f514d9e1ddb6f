"""The commands of a gallery of known people: enrol, forget."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.options import MODEL, add_device, best_device, trained
from stmga.cli.parser import check_exists, command
from stmga.utils.foreign import escaped
from stmga.utils.text import counted, preview, text_table

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.person_gallery import PersonGallery
    from stmga.tracklets.tracklet import Tracklet

NOTE = """Enrol only people who know and agree, or where the law allows it."""


def add_arguments(commands: Any) -> None:
    """Add these commands to the parser."""
    example = """  stmga enrol people.db ann=photos/ann ben=ben.jpg
  stmga enrol people.db photos
  stmga enrol people.db staff.safetensors
  stmga enrol people.db

"""
    add = command(commands, "enrol", "add known people to a gallery, or list who is in it", example + NOTE).add_argument
    add("gallery", metavar="GALLERY", help="the file of the gallery, people.db; made if it does not exist")
    add(
        "sources", metavar="SOURCE", nargs="*",
        help="NAME=image, NAME=folder of images, a folder that has a folder of images for each person, or labelled "
        "tracklets: a .jsonl manifest or embeddings with persons; each image is a tracklet of one frame; without "
        "any, the persons in the gallery are listed",
    )  # fmt: skip
    add(
        "--model", metavar="NAME", help=f"weights, for images and tracklets (default: those of the gallery, or {MODEL})"
    )
    add_device(add)
    example = """  stmga forget people.db ann
  stmga forget people.db ann ben"""
    add = command(commands, "forget", "remove people from a gallery, and from its file", example).add_argument
    add("gallery", metavar="GALLERY", help="the file of the gallery")
    add("persons", metavar="NAME", nargs="+", help="who is forgotten")


def enrol(args: argparse.Namespace) -> None:
    """Embed tracklets of known people, and put them into a gallery."""
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery import Gallery

    if not args.sources:
        _list(args.gallery)
        return
    exists = Path(args.gallery).exists()
    found = [one for text in args.sources for one in _read(text)]
    parts = [one for one in found if isinstance(one, Embeddings)]
    tracklets = [one for one in found if not isinstance(one, Embeddings)]
    if tracklets:  # before the gallery is made: a picture may be unreadable
        parts.append(_embedded(tracklets, _weights(args.gallery, args.model), args.device))
    embeddings = Embeddings.concatenate(parts)
    with Gallery.open(args.gallery) as gallery:
        _check_names(gallery, tracklets)
        gallery.add(embeddings)
        persons = sorted(set(map(str, embeddings.persons)))
        print(f"enrolled  {counted(len(persons), 'person')} with {counted(len(embeddings), 'tracklet')}: "
              f"{preview(persons, 10)}")  # fmt: skip
        print(f"{'gallery' if exists else 'made':9} {summary(args.gallery, gallery)}")


def _list(path: str) -> None:
    """Who is in a gallery."""
    from stmga.gallery import Gallery

    check_exists(path)
    with Gallery.open(path, read_only=True) as gallery:
        print(f"gallery   {summary(path, gallery)}\n")
        print(text_table(["person", "tracklets"], [[name, f"{n:,}"] for name, n in gallery.persons.items()]))


def _check_names(gallery: PersonGallery, tracklets: list[Tracklet]) -> None:
    """Photos are known by person and file name."""
    with gallery.reading() as contents:
        rows = contents.rows_of([tracklet.id for tracklet in tracklets])
    known = [tracklet.id for tracklet, row in zip(tracklets, rows, strict=True) if row >= 0]
    if known:
        raise ValueError(f"{counted(len(known), 'picture')} of these names enrolled already: {preview(known)}; leave "
                         "them out, or rename the files if they are other pictures")  # fmt: skip


def _weights(path: str, name: str | None) -> str:
    from stmga.gallery import Gallery

    if name or not Path(path).exists():
        return name or MODEL
    with Gallery.open(path, read_only=True) as gallery:
        return weights_for(gallery, name)


def summary(path: str, gallery: PersonGallery) -> str:
    """What a gallery has, in one line."""
    return (
        f"{path}: {counted(len(gallery.persons), 'person')}, {counted(len(gallery), 'tracklet')}; "
        f"vectors by {escaped(gallery.model) or 'unnamed weights'}"
    )


def weights_for(gallery: PersonGallery, name: str | None) -> str:
    """The weights asked for; otherwise those that the gallery was made with."""
    return name or gallery.model or MODEL


def forget(args: argparse.Namespace) -> None:
    """Remove all tracklets of people."""
    from stmga.gallery import Gallery

    check_exists(args.gallery)
    with Gallery.open(args.gallery) as gallery:
        for name in args.persons:  # all of them before the first is forgotten
            gallery.require_person(name)
        for name in dict.fromkeys(args.persons):
            print(f"forgot    {name}: {counted(gallery.forget(name), 'tracklet')}, erased from the file")
        print(f"gallery   {summary(args.gallery, gallery)}")
    print("Backups and copies of the file still have what was forgotten.")


def _read(text: str) -> Iterator[Tracklet | Embeddings]:
    """Labelled tracklets or embeddings of one source."""
    from stmga.embedding.embeddings import Embeddings
    from stmga.tracklets.folders import list_folder

    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        if not name.strip():
            raise ValueError(f"write NAME=image or NAME=folder, got {text!r}")
        check_exists(path)
        yield from _photos(Path(path), name)
        return
    check_exists(text)
    source = Path(text)
    if source.suffix == ".safetensors":
        embeddings = Embeddings.load(source)
        _check_persons(embeddings.ids, embeddings.persons, text)
        yield embeddings
    elif source.is_dir():
        listing = list_folder(source)
        if not listing.folders and not listing.images:
            raise ValueError(f"{text} has no images and no folders of images")
        if not listing.folders:
            raise ValueError(f"whose images are those of {text}? Write NAME={text}, or give a folder that has a folder "
                             "of images for each person")  # fmt: skip
        for person in listing.folders:
            yield from _photos(source / person, person)
    elif source.suffix == ".jsonl":
        from stmga.tracklets.manifest import read_manifest

        tracklets = read_manifest(source)
        _check_persons([t.id for t in tracklets], [t.person for t in tracklets], text)
        yield from tracklets
    else:
        raise ValueError(f"whose image is {text}? Write NAME={text}")


def _photos(path: Path, person: str) -> Iterator[Tracklet]:
    """Every image of a person as a tracklet of one frame: photos are not frames of one walk."""
    from stmga.tracklets.folders import list_folder
    from stmga.tracklets.tracklet import Tracklet

    files = [path]
    if path.is_dir():
        listing = list_folder(path)
        files = [path / name for name in listing.images]
        if listing.folders or not files:
            has = f"has folders ({preview(listing.folders)})" if listing.folders else "has no images"
            raise ValueError(f"{path} {has}; expected images of {person}")
    for file in files:
        yield Tracklet(f"{person}/{file.name}", [file], person=person)


def _check_persons(ids: Sequence[str], persons: Sequence[Any], text: str) -> None:
    if unnamed := [name for name, person in zip(ids, persons, strict=True) if person is None]:
        raise ValueError(f"{counted(len(unnamed), 'tracklet')} of {text} without a person: {preview(unnamed)}")


def _embedded(tracklets: list[Tracklet], weights: str, device: str | None) -> Embeddings:
    from stmga.embedding.embedder import TrackletEmbedder
    from stmga.tracklets.validation import check_tracklets

    checked = check_tracklets(tracklets)
    model, name = trained(weights)
    return replace(TrackletEmbedder(model, device=device or best_device())(checked), model=name)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"enrol": enrol, "forget": forget}
