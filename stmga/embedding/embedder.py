"""Any tracklets in, one vector each out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from stmga.checks import wrong_network
from stmga.embedding.clip_dataset import (
    ClipRows,
    Clips,
    Decode,
    Sampling,
    clip_indices,
    collate,
    on_device,
    on_the_device,
)
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.frame_features import FrameFeatures
from stmga.embedding.jpeg import require_decoder
from stmga.embedding.network import InferenceNetwork, TrackletNetwork, clips_at_once
from stmga.embedding.unit import NonFiniteVectorError, unit_only
from stmga.embedding.views import Views
from stmga.model import AUTOCAST
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.utils.isolation import isolated
from stmga.utils.progress import progress_bar
from stmga.utils.workers import Shared, batches

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]
OnError = Literal["raise", "skip"]
_HEAD_ROWS = 1024  # tracklets that go through the BN neck at once


class TrackletEmbedder:
    """Tracklets -> :class:`Embeddings`: one unit vector per tracklet, in the order of the tracklets.

    A tracklet is cut into consecutive clips of ``model.clip_length`` frames; the last one is filled up by looping to
    the first frames. The network's ``encode_frames`` computes each frame once, its ``encode_clips`` each clip from the
    features of its frames. The vector is the mean over the clips, then the BN neck and the L2 norm. It depends neither
    on the other tracklets nor on the batch (to 1e-5 in fp32). If the record of the weights has a calibration, the
    embeddings carry it, in any precision, unless the weights have been changed since.

    With ``flip`` a clip's feature is the mean of those of the clip and of its mirror image, which doubles the cost.
    With ``two_sizes`` it is the mean over two sizes of the frames, at 2.5 times the cost. Such vectors compare with
    plain ones, and each item says ``"flip": True`` or ``"two_sizes": True`` (:attr:`stmga.Embeddings.flip`).

    The network computes as a copy in eval mode whose batch norms are folded into the convolutions
    (:meth:`stmga.STMGA.fuse`, equal to 1e-5), in the channels-last memory format. It is renewed when weights change.

    Args:
        model: the network, which is left as it is: :class:`stmga.STMGA`, an exported file
            (:class:`stmga.deploy.ExportedModel`), or any :class:`stmga.embedding.TrackletNetwork`.
        device: where to compute. The model is *moved* there and stays there. Default: where it is.
        precision: "fp32", or autocast to "bf16" or "fp16"; the embeddings are float32 in any case.
        compile: torch.compile the network: a minute at the first clips, faster from then on.
        batch_size: clips, not tracklets, computed at once; None is as many as have 32 frames on a CPU, where more are
            slower, and 256 on a GPU.
        workers: processes that read and resize frames. With 0, and for tensors on a GPU, which other processes cannot
            read, this process does it between the batches.
        decode: where JPEG files are decoded: on the "host", or on the "device" (a GPU) by nvJPEG. nvJPEG interpolates
            colours differently, so decode queries and gallery the same way. Other files, boxes, videos and frames of
            more than four times the network's pixels are always decoded on the host.
        sampling: "all" frames, or one clip of frames spread "evenly" over the tracklet (a fast look at long ones).
        flip: average each clip's feature with that of its mirror image, before the BN neck.
        two_sizes: average it with that of frames of 1.25 times the size; the network must take such frames.
        on_error: "raise", or "skip" tracklets that cannot be read and list them in ``Embeddings.skipped``. What is
            wrong with the input as a whole (an id twice, say) raises in any case.
        progress: show a progress bar (tqdm) of clips.

    Raises:
        TrackletError: faults of the tracklets (a ValueError), each with the id and the file.

    >>> import numpy as np
    >>> from stmga import STMGA, STMGAConfig
    >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32)))
    >>> clips = {"a": np.zeros((5, 64, 32, 3), np.uint8), "b": np.full((12, 80, 40, 3), 200, np.uint8)}
    >>> TrackletEmbedder(model)(clips).vectors.shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        model: TrackletNetwork,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "fp32",
        compile: bool = False,  # noqa: A002 - its name in torch
        batch_size: int | None = None,
        workers: int = 0,
        decode: Decode = "host",
        sampling: Sampling = "all",
        flip: bool = False,
        two_sizes: bool = False,
        on_error: OnError = "raise",
        progress: bool = False,
    ) -> None:
        _check_choice("precision", precision, get_args(Precision))
        _check_choice("decode", decode, get_args(Decode))
        _check_choice("sampling", sampling, get_args(Sampling))
        _check_choice("on_error", on_error, get_args(OnError))
        if (batch_size is not None and batch_size < 1) or workers < 0:
            raise ValueError(f"batch_size must be at least 1 and workers at least 0, got {batch_size} and {workers}")
        _prepare(model, device, precision, compile, decode)
        self.model = model
        self.precision = precision
        self.compile = compile
        self.batch_size = batch_size or clips_at_once(self.device, model.clip_length)
        self.workers = workers
        self.decode = decode
        self.sampling = sampling
        self.views = Views(model, flip=flip, two_sizes=two_sizes)
        self.on_error = on_error
        self.progress = progress
        self._ready: tuple[tuple[str, torch.device, str], InferenceNetwork] | None = None
        self._shared_bar: Any = None
        self._digest = ""  # of the weights, while they are known not to change

    def __repr__(self) -> str:
        name = (self.model.record.name if self.model.record else "") or "unnamed weights"
        how = ", ".join([f"sampling={self.sampling}", f"batch_size={self.batch_size}", *self.views.marks])
        clip = " x ".join(map(str, (self.model.clip_length, *getattr(self.model.transform, "size", ()))))
        return f"TrackletEmbedder({name}, clips of {clip} -> {self.model.dim}, {self.device}, {self.precision}, {how})"

    @property
    def device(self) -> torch.device:
        return self.model.device

    def digest(self) -> str:
        """Of the weights; taken once inside :meth:`fixed_weights`."""
        return self._digest or self.model.digest()

    def __call__(self, source: Any) -> Embeddings:
        """Embed what :func:`stmga.tracklets.read_tracklets` takes: a folder, a manifest, tracklets, images, arrays.

        In memory, frames are RGB, uint8 in 0..255 or floats in 0..1. OpenCV's frames are BGR, which cannot be detected:
        pass ``frame[..., ::-1]``, or ``cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)``. Each item of a list is a tracklet:
        ``[image, image]`` gives two vectors, ``[[image, image]]`` gives one. An image alone is a tracklet of one frame.
        """
        from stmga.tracklets.readers import read_tracklets

        # To skip what cannot be read, check each file only when it is read.
        embeddings = self.embed(read_tracklets(source, check_files=self.on_error == "raise"))
        if not len(embeddings):
            raise TrackletError([skip["reason"] for skip in embeddings.skipped])
        return embeddings

    @isolated
    def embed(self, tracklets: Sequence[Tracklet]) -> Embeddings:
        """Embed checked tracklets; with on_error="skip" perhaps none of them."""
        clips = Clips(tracklets, self.views.transform, self.model.clip_length, self.sampling, self.decode)
        digest = self.digest()
        network = self._network(digest)
        sums, faults = self._encode(clips, network)
        kept = [i for i in range(len(tracklets)) if i not in faults]
        if faults:
            first = faults[min(faults)]
            logger.warning("%d of %d tracklets skipped; the first: %s", len(faults), len(tracklets), first)
        counts = torch.tensor([clips.counts[i] for i in kept], dtype=torch.float32, device="cpu").reshape(-1, 1)
        vectors = self._head(sums[kept] / counts, network)
        vectors, kept = unit_only(vectors, kept, tracklets, faults, self.on_error == "skip")
        record = self.model.record
        known = record.calibration if record else None
        return Embeddings(
            vectors,
            [tracklets[i].row() | self.views.marks for i in kept],
            digest=digest,
            model=record.name if record else "",
            skipped=[{"tracklet": tracklets[i].id, "reason": reason} for i, reason in sorted(faults.items())],
            calibration=known if known and known.digest == digest else None,  # none of weights changed since
        )

    def _network(self, digest: str) -> InferenceNetwork:
        """The network that computes; it is made once for the same weights on the same device."""
        key = (digest, self.device, self.precision)
        if self._ready is None or self._ready[0] != key:
            self._ready = key, self.model.for_inference(precision=self.precision, compile=self.compile, digest=digest)
        return self._ready[1]

    def _encode(self, clips: Clips, network: InferenceNetwork) -> tuple[Tensor, dict[int, str]]:
        """Per tracklet the sum of its clips' features (n, c), and what is wrong with those that have none."""
        sums = torch.zeros(len(clips.tracklets), self.model.dim, dtype=torch.float32, device="cpu")
        faults: dict[int, str] = {}
        known = [FrameFeatures(clips.counts, self.model.clip_length) for _ in range(len(self.views))]
        loader = DataLoader(
            clips,
            batch_size=self.batch_size,
            num_workers=0 if any(map(on_device, clips.tracklets)) else self.workers,
            collate_fn=Shared(collate),
            pin_memory=self.device.type == "cuda",
        )
        with self._bar(len(clips)) as bar:
            for batch in batches(loader):
                faults = batch.faults | faults  # the first of a tracklet stays
                frames, undecoded = on_the_device(batch, clips, self.device)
                faults = undecoded | faults
                owners = [clip.owner for clip in batch.clips if clip.owner not in faults]
                if owners:
                    features = self._features(frames, batch.clips, faults, known, network)
                    for owner, feature in zip(owners, features, strict=True):
                        sums[owner] += feature  # one by one: the sum does not depend on where a batch ends
                    broken_rows = (~features.isfinite().all(dim=1)).nonzero().flatten().tolist()
                    for row in broken_rows:
                        faults.setdefault(owners[row], self._not_finite(clips.tracklets[owners[row]]))
                    if broken_rows and self.on_error == "raise":
                        raise NonFiniteVectorError([faults[i] for i in sorted(faults)])
                if faults and self.on_error == "raise":
                    raise TrackletError([faults[i] for i in sorted(faults)])
                bar.update(batch.size)
        return sums, faults

    def _features(
        self,
        frames: list[Tensor],
        clips: Sequence[ClipRows],
        faults: Mapping[int, str],
        known: Sequence[FrameFeatures],
        network: InferenceNetwork,
    ) -> Tensor:
        """Some (k, 3, h, w), the new frames of the clips -> (b, c) of the clips without faults, float32 on the CPU."""
        batch = frames[0] if len(frames) == 1 else torch.cat(frames)
        dtype = AUTOCAST[self.precision]
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=dtype) if dtype else nullcontext():
            found = []
            for view, of_frames in zip(self.views.of(batch), known, strict=True):
                of_clips = of_frames.gather(network.encode_frames(view), clips, faults)  # (b t ...)
                found.append(network.encode_clips(of_clips).float())
            return torch.stack(found).mean(0).cpu()

    def _head(self, features: Tensor, network: InferenceNetwork) -> Tensor:
        """(n, c) -> (n, c) of unit length, in float32 whatever the precision."""
        out = torch.empty_like(features)
        for start in range(0, len(features), _HEAD_ROWS):
            rows = slice(start, start + _HEAD_ROWS)
            with torch.inference_mode():
                out[rows] = network.forward_head(features[rows].to(self.device)).float().cpu()
        return out

    def _not_finite(self, tracklet: Tracklet) -> str:
        hint = "; try precision='bf16' or 'fp32'" if self.precision == "fp16" else ""
        return f'tracklet "{tracklet.id}": its embedding is not finite (NaN or infinite){hint}'

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """Inside, the weights must not change, so that their digest, a pass over all of them, is computed once."""
        before = self._digest
        try:
            self._digest = self.digest()
            yield
        finally:
            self._digest = before

    @contextmanager
    def one_run(self, tracklets: Iterable[Tracklet]) -> Iterator[None]:
        """Inside, :meth:`fixed_weights`, and one progress bar for all of these, however many calls of :meth:`embed`."""
        length = self.model.clip_length
        shown = tracklets if self.progress else ()
        total = sum(len(clip_indices(len(tracklet), length, self.sampling)) for tracklet in shown)
        with self.fixed_weights(), self._bar(total) as bar:
            try:
                self._shared_bar = bar
                yield
            finally:
                self._shared_bar = None

    def _bar(self, total: int) -> AbstractContextManager[Any]:
        if self._shared_bar is not None:
            return nullcontext(self._shared_bar)
        return progress_bar(total=total, unit="clip", desc="embed", shown=bool(self.progress and total))


def _prepare(
    model: TrackletNetwork, device: str | torch.device | None, precision: Precision, compiled: bool, decoded: Decode
) -> None:
    """The model on its device. TypeError if it is not a network, ValueError for what it cannot do there."""
    if not isinstance(model, TrackletNetwork):
        raise TypeError(f"model must be a network such as stmga.STMGA, {wrong_network(model)}")
    model.check_inference(precision=precision, compile=compiled)
    if device is not None:
        model.to(device)
    if decoded == "device":
        if model.device.type != "cuda":
            raise ValueError(f'decode="device" is for a GPU; this computes on {model.device}, as "host" decodes')
        require_decoder(model.device)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
