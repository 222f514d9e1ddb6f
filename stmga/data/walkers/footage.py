"""Scenes on disk: a video of each camera, who is where in each frame, and the tracklets of every person."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.data.walkers.filming import Film
from stmga.data.walkers.generate import named_difficulty
from stmga.data.walkers.scene_spec import SceneSpec
from stmga.data.walkers.spec import Difficulty, check_int
from stmga.data.walkers.truth import mot_line, read_sightings, tracklets_of
from stmga.tracklets.manifest import manifest_line
from stmga.tracklets.video_file import require_av
from stmga.utils.claim import FolderClaim
from stmga.utils.files import atomic_path
from stmga.utils.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np

MANIFEST = "manifest.jsonl"
CLAIM = FolderClaim(file="scenes.json", what="a folder of scenes", other="holds other scenes")
OPTIONS = {"libx264": {"crf": "24", "preset": "veryfast", "threads": "1"}, "mpeg4": {"qscale": "3", "threads": "1"}}


def write_scenes(
    folder: str | Path,
    *,
    cameras: int = 4,
    persons: int = 30,
    seconds: float = 60,
    fps: int = 12,
    size: tuple[int, int] = (360, 640),
    seed: int = 0,
    difficulty: str | Difficulty = "medium",
    workers: int = 0,
    progress: bool = False,
) -> Path:
    """Render what several fixed cameras film while people walk about; returns the path of the manifest.

    People cross, hide each other, stand still, leave the picture, and return or go on to the next camera. Nobody is in
    two cameras at once. A person looks the same everywhere; each camera has its own background and light.

    Needs `pip install "stmga[video]"`. Writes, for the cameras cam1, cam2 and so on:

    - ``cam1.mp4``: the video; H.264 where PyAV has libx264, else MPEG-4.
    - ``cam1.txt``: lines `frame,id,x,y,w,h,1,1,visibility` as in the truth of MOTChallenge, but with the corner (0, 0)
      and with the person's number as id, the same in all cameras. A box is the extent of the whole person, clipped to
      the picture. Visibility is the share of the person's pixels that are seen.
    - ``manifest.jsonl``, last: a tracklet for each stay of a person in a camera, with `person`, `camera`, `time` and
      `end_time` on a common clock. Frames in which less than half of the person is seen are left out. Where that is
      so for more than a second, another tracklet begins.
    - ``scenes.json``: the arguments.

    The same arguments give the same truth, and the same pixels before they are encoded, for any number of `workers`.
    The bytes of the videos are the same with the same build of FFmpeg. After an interruption, the same call renders
    the cameras that are missing; once finished, it does nothing. Memory does not grow with the length.

    Args:
        folder: new, empty, or of the same call.
        cameras, persons, seconds, fps, size, seed, difficulty: see `SceneSpec`; a difficulty may be named "easy",
            "medium" or "hard".
        workers: processes that render, one camera each; 0 renders in this one.
        progress: show a bar.

    Raises:
        ValueError: a value out of its range, or a folder with other contents.
        ImportError: PyAV is not installed.

    >>> import tempfile
    >>> write_scenes(tempfile.mkdtemp(), cameras=1, persons=3, seconds=1, fps=4, size=(96, 128)).name
    'manifest.jsonl'
    """
    spec = SceneSpec(
        cameras=cameras, persons=persons, seconds=seconds, fps=fps, size=size, seed=seed,
        difficulty=named_difficulty(difficulty),
    )  # fmt: skip
    check_int("workers", workers, 0)
    folder, codec = Path(folder).absolute(), _codec()
    with CLAIM.hold(folder, {**spec.about(), "codec": codec}):
        manifest = folder / MANIFEST
        if not manifest.is_file():
            missing = [n for n in range(spec.cameras) if not all(f.is_file() for f in _files(folder, n))]
            _shoot(folder, spec, codec, missing, workers, progress)
            _write_manifest(manifest, spec)  # last: a manifest exists only if all its files do
    return manifest


def _files(folder: Path, number: int) -> tuple[Path, Path]:
    """Video and truth of a camera."""
    return folder / f"cam{number + 1}.mp4", folder / f"cam{number + 1}.txt"


def _shoot(folder: Path, spec: SceneSpec, codec: str, missing: list[int], workers: int, progress: bool) -> None:
    """Render the missing cameras."""
    with progress_bar(total=len(missing) * spec.frames, unit="frame", shown=progress) as bar:
        if not workers:
            for number in missing:
                for _ in _film(folder, spec, codec, number):
                    bar.update()
            return
        context = get_context("spawn")  # threads of torch do not survive a fork
        done = context.Value("q", 0)
        with ProcessPoolExecutor(workers, context, initializer=_count_in, initargs=(done,)) as pool:
            left = {pool.submit(_film_counted, folder, spec, codec, number) for number in missing}
            try:
                while left:
                    finished, left = wait(left, timeout=0.5)
                    bar.update(done.value - bar.n)
                    for future in finished:
                        future.result()
            finally:
                pool.shutdown(cancel_futures=True)


_frames_done: Any = None  # in a worker: the counter that all of them share


def _count_in(counter: Any) -> None:
    global _frames_done
    _frames_done = counter


def _film_counted(folder: Path, spec: SceneSpec, codec: str, number: int) -> None:
    for _ in _film(folder, spec, codec, number):
        with _frames_done.get_lock():
            _frames_done.value += 1


def _film(folder: Path, spec: SceneSpec, codec: str, number: int) -> Iterator[None]:
    """Write video and truth of one camera, frame by frame."""
    video, truth = _files(folder, number)
    # The truth is in place only after the video: both are there, or the camera is rendered again.
    with (
        atomic_path(truth) as temp,
        temp.open("w", encoding="ascii", newline="") as lines,
        atomic_path(video) as file,
        _encoder(file, spec, codec) as encode,
    ):
        for pixels, sightings in Film(spec, number).frames():
            encode(pixels)
            lines.writelines(map(mot_line, sightings))
            yield


@contextmanager
def _encoder(file: Path, spec: SceneSpec, codec: str) -> Iterator[Any]:
    """A function that appends a frame (h w 3, uint8) to a video."""
    av = require_av()
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=spec.fps, options=OPTIONS[codec])
        stream.height, stream.width = spec.size
        stream.pix_fmt = "yuv420p"

        def encode(pixels: np.ndarray) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))

        yield encode
        container.mux(stream.encode())


def _codec() -> str:
    return next(name for name in OPTIONS if name in require_av().codecs_available)


def _write_manifest(manifest: Path, spec: SceneSpec) -> None:
    with atomic_path(manifest) as temp, temp.open("w", encoding="utf-8", newline="") as lines:
        for number in range(spec.cameras):
            video, truth = _files(manifest.parent, number)
            for tracklet in tracklets_of(read_sightings(truth), video, spec.fps):
                lines.write(manifest_line(tracklet, manifest.parent))
