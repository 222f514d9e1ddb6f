"""`stmga.people.watch` on a video that is repeated: how late every line comes, and memory.

    python -m benchmarks.speed.watch VIDEO --json benchmarks/results/watch.json

The video is repeated five times in one file, without encoding it again. A line is late by the frames between the end
of the stay and the frame at which it was given, at ten frames a second, and by the seconds of computing from that frame
on. Memory is what the process has resident after every repetition.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import av

from benchmarks.turns import where
from stmga import Gallery, TrackletEmbedder, create_model
from stmga.cli.options import MODEL
from stmga.people import Motion, watch
from stmga.tracklets.video_frames import VideoFrames
from stmga.utils.files import atomic_write

FPS = 10.0
BAR = 2.0  # seconds


def repeated(video: Path, times: int, out: Path) -> int:
    """The packets of a video, so many times, one after the other; returns the frames of one."""
    with av.open(str(out), "w") as target:
        stream, shift, frames = None, 0, 0
        for _ in range(times):
            with av.open(str(video)) as source:
                given = source.streams.video[0]
                stream = stream or target.add_stream_from_template(given)
                last = shift
                for packet in source.demux(given):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    last = max(last, packet.pts + (packet.duration or 1))
                    target.mux(packet)
                    frames += 1
                shift = last
    return frames // times


class Counted(Motion):
    """The detector `motion`, which remembers how many frames it has seen, and when the last one came."""

    frames, time = 0, 0.0

    def __call__(self, frame):
        self.frames, self.time = self.frames + 1, time.perf_counter()
        return super().__call__(frame)


def resident() -> float:
    """MB that this process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    lines: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"whole{args.video.suffix}"
        frames = repeated(args.video, args.times, whole)
        detector = Counted(VideoFrames(args.video).fps)
        embedder = TrackletEmbedder(create_model(MODEL, pretrained=True))
        start = time.perf_counter()
        for seen in watch(whole, Gallery(), embedder, detector=detector, enrol_new=True):
            late = (detector.frames - 1 - seen.end) / FPS, time.perf_counter() - detector.time
            lines.append(seen.to_dict() | {"late": sum(late), "computing": late[1], "resident": resident()})
        seconds = time.perf_counter() - start
    rounds = [[line for line in lines if line["end"] // frames == i] for i in range(args.times)]
    worst = max(line["late"] for line in lines)
    memory = [max(line["resident"] for line in lines_) for lines_ in rounds if lines_]
    print(f"{args.times} x {frames:,} frames in {seconds:.0f} s; {where()}")
    print(f"lines      {' '.join(str(len(one)) for one in rounds)}, verdicts of the first and the last repetition:")
    print(f"           {[line['verdict'] for line in rounds[0]]} {[line['verdict'] for line in rounds[-1]]}")
    print(f"late       at most {worst:.2f} s, {max(line['computing'] for line in lines):.2f} s of them computing; "
          f"bar {BAR:g} s: {'met' if worst <= BAR else 'MISSED'}")  # fmt: skip
    print(f"resident   {' '.join(f'{value:.0f}' for value in memory)} MB after each repetition")
    if args.json:
        about = {"where": where(), "frames": frames, "times": args.times, "seconds": seconds, "late": worst}
        about |= {"lines": [len(one) for one in rounds], "resident, MB": memory}
        atomic_write(args.json, (json.dumps(about, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
