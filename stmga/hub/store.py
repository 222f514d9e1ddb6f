"""Load, save and push weights, in a folder or on the Hub: safetensors, every byte verified, every key matched."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from stmga.hub.contents import contents, folder_contents
from stmga.hub.contents import digest_of as _sha256
from stmga.hub.records import CONFIG_FILE, CONFIG_LIMIT, WeightRecord, WeightsError, read_record
from stmga.hub.repo import UPLOAD, Repo
from stmga.hub.state import Build, empty, from_bytes, largest_file, pickle_hint
from stmga.hub.wrong_file import wrong_file
from stmga.utils.files import write_all
from stmga.utils.foreign import MB, open_regular, read_regular

if TYPE_CHECKING:
    from stmga.model import STMGA

__all__ = ["WeightsError", "load", "load_record", "push", "save"]

log = logging.getLogger(__name__)
SMALL = 64 * MB  # files up to this size, by their record, are read at once


def load(
    source: str | Path,
    *,
    build: Build,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
) -> STMGA:
    """A trained network from a folder or from the Hub, in eval mode and float32.

    :meth:`stmga.STMGA.from_pretrained` is the usual way to it.

    Args:
        source: a folder that :func:`save` made, or a Hub id ``"owner/name"``. A folder of that name comes first.
        build: makes the network of a configuration: :class:`stmga.STMGA`.
        revision: branch, tag or commit of the Hub repository. A commit (40 hex digits) that is cached needs no request.
        cache_dir: the Hub's cache; by default huggingface_hub's (``HF_HOME``).
        local_files_only: make no request, as ``HF_HUB_OFFLINE=1`` does.
        token: for private repositories; by default what ``hf auth login`` stored.
        device: the device of the network.

    Raises:
        WeightsError: not found, not reachable, wrong bytes, or keys that do not fit; the message says what to do.

    Example:
        >>> import stmga
        >>> stmga.create_model("stmga_resnet18_c4").save_pretrained("mine")
        >>> load("mine", build=stmga.STMGA).training
        False
    """
    if Path(source).is_dir():
        if revision is not None:
            raise WeightsError(f"{source} is a folder, which has no revision {revision!r}; leave revision out.")
        return _from_folder(read_record(source), Path(source), device, build)
    repo = Repo(_hub_id(source), cache_dir, local_files_only, token)
    commit = repo.resolve(revision)  # config and weights come from this one commit, even if main changes meanwhile
    config = repo.fetch(CONFIG_FILE, commit, limit=CONFIG_LIMIT)
    try:
        record = WeightRecord.from_json(read_regular(config, CONFIG_LIMIT))
    except (WeightsError, OSError) as error:
        repo.forget(config)  # the download may have damaged it; the next load fetches it again
        raise WeightsError(f"{CONFIG_FILE} of {repo.repo_id} at {commit} cannot be used: {error}.") from error
    return _from_hub(replace(record, repo_id=repo.repo_id, revision=commit), repo, commit, device, build)


def load_record(
    record: WeightRecord,
    *,
    build: Build,
    folder: str | Path | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
) -> STMGA:
    """The network of a record: from ``folder`` if given, else from the copy in the package, else from the Hub.

    Raises:
        WeightsError: as :func:`load`; also a folder that holds other weights than the record names.
    """
    if folder is not None:
        found = read_record(folder)
        if found.sha256 != record.sha256:
            raise WeightsError(
                f"{folder} holds other weights than {record.name}: sha256 {found.sha256}, the record names "
                f"{record.sha256}. Load them as what they are with STMGA.from_pretrained(folder)."
            )
        return _from_folder(replace(record, file=found.file), Path(folder), device, build)
    if record.folder is not None and (record.folder / record.file).is_file():
        return _from_folder(record, record.folder, device, build)
    if record.repo_id is None or record.revision is None:  # not record.published
        raise WeightsError(
            f"The weights {record.name or 'without a name'} are not on this machine, and their Hub copy has not been "
            "published yet: load them from a checkout of the repository, or give the folder that holds them "
            f'(weights="path" of create_model("{record.arch or "architecture"}")).'
        )
    repo = Repo(record.repo_id, cache_dir, local_files_only, token)
    commit = record.revision if repo.cached(record.file, record.revision) else repo.resolve(record.revision)
    return _from_hub(record, repo, commit, device, build)


def save(model: nn.Module, folder: str | Path, *, record: WeightRecord | None = None, half: bool | None = None) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``README.md``; all of them or, if something fails, none.

    ``module.`` and ``_orig_mod.`` (of DistributedDataParallel and torch.compile) are stripped from the keys.

    Args:
        model: an STMGA.
        folder: created if missing.
        record: describes the weights: name, metrics, data, licence. sha256 and file size are filled in here. Without
            it, the model's own record is kept if its weights are unchanged; changed weights keep only their origin and
            its terms.
        half: True rounds the parameters to float16, which halves the file. Loading gives the rounded network, which
            has its own digest. Running statistics, and values that float16 cannot represent, stay in float32. None
            keeps the form of the file that an unchanged model came from, else the parameters as they are.

    Raises:
        WeightsError: not an STMGA, or a record of another configuration or with the calibration of other weights.
        OSError: the files cannot be written; older files are untouched.
    """
    files = contents(model, record, half=half)
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_all({Path(folder) / name: data for name, data in files.items()})


def push(
    model_or_folder: nn.Module | str | Path,
    repo_id: str,
    *,
    build: Build,
    private: bool = False,
    token: str | bool | None = None,
    commit_message: str = "Upload weights with stmga",
) -> str:
    """Send a model, or a folder that :func:`save` made, to a Hub repository; returns the new commit, to pin it.

    The repository is created if missing. A folder is verified first. Only its weights, ``config.json``, ``README.md``
    and the log that the record names are sent, and each must be a file in this folder. ``build`` as in :func:`load`.

    Raises:
        WeightsError: a folder that does not verify, a file that is a link out of the folder, or a Hub that refuses or
            cannot be reached.
    """
    repo = Repo(repo_id, token=token)
    repo.check_id()
    if isinstance(model_or_folder, nn.Module):
        files = contents(model_or_folder, None, repo_id)
    else:
        folder = Path(model_or_folder)
        record = load(folder, build=build).record if folder.is_dir() else read_record(folder)
        files = folder_contents(folder, cast(WeightRecord, record))
    with repo.explained(UPLOAD):
        if repo.offline:
            raise ConnectionError("offline")
        from huggingface_hub import CommitOperationAdd

        api = repo.api
        api.create_repo(repo_id, private=private, exist_ok=True)
        # The verified bytes, by name: no pattern, and no file that was replaced since.
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
        done = api.create_commit(repo_id=repo_id, operations=operations, commit_message=commit_message)
    return str(done.oid)


def _from_folder(record: WeightRecord, folder: Path, device: str | torch.device, build: Build) -> STMGA:
    path = folder / record.file
    try:
        data = read_regular(path, _limit(record, build))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); save_pretrained writes it.") from error
    if (found := _sha256(data)) != record.sha256:
        raise WeightsError(
            f"{path} is not the file that its record names: sha256 is {found}, expected {record.sha256}. "
            f"{pickle_hint(data)}Copy or download it again, or save the model again with save_pretrained."
        )
    return _build(replace(record, folder=folder), data, path, device, build)


def _from_hub(record: WeightRecord, repo: Repo, commit: str, device: str | torch.device, build: Build) -> STMGA:
    limit = _limit(record, build)
    path = repo.fetch(record.file, commit, limit=limit)
    data, advice = _beginning(path, limit), "Load it again with network access."
    if (found := _sha256(data)) != record.sha256 and not repo.offline:
        log.warning("%s of %s has wrong bytes (sha256 %s); fetching it again", record.file, repo.repo_id, found)
        try:
            path = repo.fetch(record.file, commit, limit=limit, again=True)
            data, advice = _beginning(path, limit), "It was fetched twice: do not use it."
        except WeightsError as error:
            advice = f"It could not be fetched again: {error}"
        found = _sha256(data)
    if found != record.sha256:
        repo.forget(path)
        raise WeightsError(
            f"{record.file} of {repo.repo_id} at {commit} was refused: sha256 is {found}, expected {record.sha256}. "
            f"{pickle_hint(data)}{advice}"
        )
    try:
        return _build(record, data, f"{repo.repo_id}/{record.file}", device, build)
    except WeightsError:
        repo.forget(path)
        raise


def _limit(record: WeightRecord, build: Build) -> int:
    """The largest size in bytes that the file of a record may have."""
    if 0 < record.file_size <= SMALL:
        return record.file_size
    largest = largest_file(empty(record.config, build))  # of that network, regardless of the record's file_size
    return min(record.file_size or largest, largest)


def _beginning(path: Path, limit: int) -> bytes:
    """The bytes of a cached file; of one that is too large, only enough to detect that."""
    try:
        with open_regular(path) as file:
            return file.read(limit + 1)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); remove it and load it again.") from error


def _build(record: WeightRecord, data: bytes, origin: str | Path, device: str | torch.device, build: Build) -> STMGA:
    """The network of a verified file, with its record."""
    if record.file_size not in (0, len(data)):
        raise WeightsError(
            f"{origin} has {len(data):,} bytes, and its record says {record.file_size:,}: {CONFIG_FILE} was changed. "
            "Save the model again with save_pretrained."
        )
    model = from_bytes(data, record.config, origin, build=build)
    model.record = record
    library = str(model.backbone.library)
    if library and record.trunk_library not in ("", library):
        log.warning(
            "%s was saved with %s, and this is %s: its vectors may differ", origin, record.trunk_library, library
        )
    return model.to(device).eval()


def _hub_id(source: str | Path) -> str:
    text = str(source)
    if isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", text):
        return text
    if isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*@.+", text):
        name, _, revision = text.partition("@")
        raise WeightsError(f"{text!r} is not a Hub id; write {name!r} and revision={revision!r}.")
    raise WeightsError(
        wrong_file(source)
        or f"There is no folder {text!r}, and it is not a Hub id 'owner/name'. A weight that list_weights() shows is "
        "loaded with create_model(name, pretrained=True)."
    )
