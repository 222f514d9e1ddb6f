"""Unpack the research sets and write the manifests that training and measuring need.

    python -m benchmarks.tools.research_data SHARED/data -o FOLDER
    python -m benchmarks.tools.research_data SHARED/data -o FOLDER --small small.tar.xz
    python -m benchmarks.tools.research_data small.tar.xz -o FOLDER

FOLDER gets mars8-dev/, market1501-867/, cuhk03/ and cuhk03-sharp/ as they are in their zips, the ImageNet trunks, and

    cuhk03-1367/index.jsonl       CUHK03 without the 100 held-out identities of cuhk03_held_out.json: to train on; crops
                                  that there are in their original sharpness too are tracklets NAME-sharp beside NAME
    cuhk03-held-soft/index.jsonl  the 100 in 64 x 128 crops: camera 1 is the query, camera 2 the gallery
    cuhk03-held-sharp/index.jsonl the same tracklets in their original sharpness
    cuhk03-sharp/frames/          sharp crops by the names of the soft ones

--small writes the training crops, sharp ones too, as one file for a GPU machine: the same tree, recompressed as WebP
under the old names (readers look at the content), at the highest quality that fits. Unpacked, it trains the same plans.
The crops show real people: FOLDER must be outside the repository, or in runs/, which git ignores.
"""

import argparse
import hashlib
import io
import json
import lzma
import os
import shutil
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from stmga.utils.files import atomic_path, atomic_write

HERE = Path(__file__).resolve().parent
SETS = ("mars8-dev", "market1501-867", "cuhk03", "cuhk03-sharp")
TRAINING = ("market1501-867", "cuhk03-1367")
SOFT, SHARP = "../cuhk03/frames", "../cuhk03-sharp/frames"
TRUNKS = "*-imagenet-to-layer3.safetensors"
CAMERA_ROLES = {1: "query", 2: "gallery"}
HELD = 100
HEIGHT = 192  # of a sharp crop in the small copy
SAMPLE = 16  # the quality is searched on every 16th crop


# ---- unpacking


def unpack(source: Path, out: Path) -> None:
    """Every set of the shared folder, and the trunks; a set that is there already is checked against its zip.

    Raises:
        FileNotFoundError: a zip is missing.
        ValueError: a folder is there and lacks files of its zip.
    """
    archives = {name: source / f"{name}.zip" for name in SETS}
    if missing := [file.name for file in archives.values() if not file.is_file()]:
        raise FileNotFoundError(f"{source} lacks {', '.join(missing)}; give the folder that holds the zips of all sets")
    out.mkdir(parents=True, exist_ok=True)
    for name, file in archives.items():
        _unpack_set(file, out / name)
    for trunk in source.glob(TRUNKS):
        shutil.copyfile(trunk, out / trunk.name)


def _unpack_set(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        if folder.exists():
            files = [entry for entry in archive.infolist() if not entry.is_dir()]
            bad = [e.filename for e in files if _size(folder / e.filename) != e.file_size]
            if bad:
                raise ValueError(
                    f"{folder} lacks or has changed {len(bad)} of {len(files)} files, first {bad[0]}; remove it"
                )
            return
        temp = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temp, ignore_errors=True)  # of a run that was killed
        archive.extractall(temp)
        os.replace(temp, folder)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else -1


def unpack_small(file: Path, out: Path) -> None:
    """The tree of a file that --small wrote; ValueError where anything is in the way."""
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; give a new folder for the content of {file.name}")
    temp = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temp, ignore_errors=True)  # of a run that was killed
    temp.mkdir(parents=True)
    with tarfile.open(file, "r:xz") as archive:
        archive.extractall(temp, filter="data")
    os.replace(temp, out)


# ---- manifests


def held_out() -> list[int]:
    """The 100 CUHK03 persons whom no training sees."""
    return json.loads((HERE / "cuhk03_held_out.json").read_text())["persons"]


def chosen(rows: Iterable[dict], sharp: Collection[str], count: int = HELD) -> list[int]:
    """The rule that chose them: of the persons seen by two cameras and sharp in every crop, the first by hash."""
    mine = defaultdict(list)
    for row in rows:
        mine[row["person"]].append(row)
    able = [
        person
        for person, own in mine.items()
        if len({row["camera"] for row in own}) == 2
        and all(PurePosixPath(frame).name in sharp for row in own for frame in row["frames"])
    ]
    return sorted(sorted(able, key=lambda p: hashlib.sha256(f"cuhk03/{p}".encode()).hexdigest())[:count])


def write_manifests(out: Path, held: Collection[int]) -> None:
    """The three manifests beside the unpacked sets; ValueError where a held-out person's sharp crops are not there."""
    rows = read_rows(out / "cuhk03" / "index.jsonl")
    sharp = out / "cuhk03-sharp" / "frames"
    ours = [row for row in rows if row["person"] in held]
    if missing := [f for row in ours for f in row["frames"] if not (sharp / PurePosixPath(f).name).is_file()]:
        raise ValueError(f"{sharp} lacks {len(missing)} crops of the held-out persons, first {missing[0]}")
    asked = [row | {"role": CAMERA_ROLES[row["camera"]]} for row in ours]
    others = [row for row in rows if row["person"] not in held]
    _write(out / "cuhk03-1367", [*_moved(others, SOFT), *_moved(_sharp(others, sharp), SHARP)])
    _write(out / "cuhk03-held-soft", _moved(asked, SOFT))
    _write(out / "cuhk03-held-sharp", _moved(asked, SHARP))


def read_rows(manifest: Path) -> list[dict]:
    return [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]


def _sharp(rows: Iterable[dict], frames: Path) -> Iterator[dict]:
    """The rows once more, as tracklets of their own, with those of their crops that are sharp in ``frames``."""
    for row in rows:
        if own := [f for f in row["frames"] if (frames / PurePosixPath(f).name).is_file()]:
            yield row | {"tracklet": f"{row['tracklet']}-sharp", "frames": own}


def _moved(rows: Iterable[dict], frames: str) -> list[dict]:
    """The rows, every frame of theirs in the folder ``frames``."""
    return [row | {"frames": [f"{frames}/{PurePosixPath(f).name}" for f in row["frames"]]} for row in rows]


def _write(folder: Path, rows: Iterable[dict]) -> None:
    folder.mkdir(exist_ok=True)
    atomic_write(folder / "index.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


# ---- the small copy


def training_files(root: Path) -> tuple[list[Path], list[Path]]:
    """The soft and the sharp crops of the training sets, in order, relative to ``root``."""
    files = set()
    for name in TRAINING:
        frames = (f for row in read_rows(root / name / "index.jsonl") for f in row["frames"])
        files |= {Path(os.path.normpath(Path(name, frame))) for frame in frames}
    sharp = {file for file in files if file.parts[0] == "cuhk03-sharp"}
    return sorted(files - sharp), sorted(sharp)


def recompressed(file: Path, quality: int) -> tuple[bytes, float]:
    """A crop as WebP, at most 192 pixels high where it is higher than 128, and its PSNR in dB."""
    with Image.open(file) as image:
        crop = image.convert("RGB")
    if crop.height > HEIGHT:
        crop = crop.resize((max(1, round(crop.width * HEIGHT / crop.height)), HEIGHT), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    crop.save(buffer, "WEBP", quality=quality, method=4)
    with Image.open(buffer) as image:
        error = np.asarray(image.convert("RGB"), np.float64) - np.asarray(crop, np.float64)
    return buffer.getvalue(), float(10 * np.log10(255**2 / max(np.square(error).mean(), 1e-9)))


def write_tar(
    target: Path, root: Path, crops: Sequence[Path], quality: int, manifests: Sequence[Path] = ()
) -> dict[Path, float]:
    """A tar.xz of the crops, recompressed, and of manifests; the PSNR of each crop.

    xz and not zip: the headers of 35,000 small files look alike, and it stores what they share once.
    """
    found = {}
    with atomic_path(target) as temp, tarfile.open(temp, "w:xz") as archive:
        for file in manifests:
            _add(archive, file, (root / file).read_bytes())
        for file in crops:
            data, found[file] = recompressed(root / file, quality)
            _add(archive, file, data)
    return found


def _add(archive: tarfile.TarFile, name: Path, data: bytes) -> None:
    entry = tarfile.TarInfo(name.as_posix())
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def write_small(target: Path, root: Path, most: int) -> tuple[int, dict[str, float]]:
    """The small copy in at most ``most`` bytes; its quality, and the mean PSNR of soft and of sharp crops.

    Raises:
        ValueError: it does not fit at the lowest quality.
    """
    soft, sharp = training_files(root)
    crops, manifests = [*soft, *sharp], [Path(name, "index.jsonl") for name in TRAINING]
    for quality in _qualities(target, root, crops[::SAMPLE], most / SAMPLE):
        found = write_tar(target, root, crops, quality, manifests)
        if (size := target.stat().st_size) <= most:
            means = {"soft": soft, "sharp": sharp}
            return quality, {kind: float(np.mean([found[f] for f in own])) for kind, own in means.items() if own}
        print(f"quality {quality}: {size / 1e6:.1f} MB, too much", flush=True)
    target.unlink()
    raise ValueError(f"{len(crops):,} crops do not fit in {most / 1e6:g} MB even at the lowest quality")


def _qualities(target: Path, root: Path, sample: Sequence[Path], most: float) -> Iterator[int]:
    """From the highest quality at which a sample of the crops fits, down to 0."""
    probe, low, high = target.with_name(f".{target.name}.probe"), 0, 95
    try:
        while low < high:
            middle = (low + high + 1) // 2
            write_tar(probe, root, sample, middle)
            low, high = (middle, high) if probe.stat().st_size <= most else (low, middle - 1)
    finally:
        probe.unlink(missing_ok=True)
    yield from range(low, -1, -1)


# ---- the command


def outside(path: Path) -> Path:
    """The path; ValueError for a place in the repository that git does not ignore."""
    root, full = HERE.parent, path.resolve()
    if full.is_relative_to(root) and not full.is_relative_to(root / "runs"):
        raise ValueError(
            f"{path} is in the repository, where crops of real people must not be; name a place outside it"
        )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the folder of the zips, or a file that --small wrote")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--small", type=Path, metavar="FILE.tar.xz", help="write the small copy of the training crops")
    parser.add_argument("--megabytes", type=float, default=30, help="of the small copy, at most (default: 30)")
    args = parser.parse_args()
    try:
        if args.source.is_file():
            unpack_small(args.source, outside(args.out))
            return
        unpack(args.source, outside(args.out))
        write_manifests(args.out, held_out())
        if args.small:
            quality, psnr = write_small(outside(args.small), args.out, int(args.megabytes * 1e6))
            means = ", ".join(f"{kind} {value:.1f} dB" for kind, value in psnr.items())
            print(f"{args.small}: {args.small.stat().st_size / 1e6:.1f} MB, quality {quality}, mean PSNR {means}")
    except (OSError, ValueError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError) as error:
        raise SystemExit(f"research_data: error: {error}") from error


if __name__ == "__main__":
    main()
