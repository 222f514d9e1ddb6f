"""Files of a Hub repository, by huggingface_hub's own rules. Its errors become messages that say what to do."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stmga._version import __version__
from stmga.hub.download import COMMIT, EndedEarlyError, cache_of, commit_of, download, remember
from stmga.hub.records import CONFIG_FILE, WeightsError, is_hub_id

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)
T = TypeVar("T")

PAUSES = (1.0, 2.0)  # seconds before the second and the third try after a temporary error
UPLOAD = "the upload"


@dataclass(frozen=True)
class Repo:
    """One Hub repository, as this user sees it: endpoint, cache, token, and whether the network may be used."""

    repo_id: str
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    token: str | bool | None = None

    @property
    def api(self) -> HfApi:
        from huggingface_hub import HfApi

        # huggingface_hub reads HF_ENDPOINT when it is imported; reading it here lets a notebook set it later.
        endpoint = os.environ.get("HF_ENDPOINT") or None
        return HfApi(endpoint=endpoint, token=self.token, library_name="stmga", library_version=__version__)

    @property
    def offline(self) -> bool:
        """Whether requests are forbidden."""
        from huggingface_hub import constants

        said = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
        return self.local_files_only or said or bool(constants.HF_HUB_OFFLINE)

    def resolve(self, revision: str | None) -> str:
        """The current commit, 40 hex digits, of ``revision`` (a branch, tag or commit; None: main)."""
        self.check_id()
        with self.explained(f"revision {revision!r}" if revision else "its newest revision", revision):
            if revision and COMMIT.fullmatch(revision) and (self.offline or self.cached(CONFIG_FILE, revision)):
                return revision
            if self.offline:
                return self._known(revision)
            try:
                # One request, which fails at once; a download would retry for half a minute.
                commit = _patiently(lambda: commit_of(self.api, self.repo_id, revision))
            except Exception as error:
                if not _is_away(error):
                    raise
                with suppress(WeightsError):
                    return self._known(revision)
                raise
            remember(cache_of(self.repo_id, self.cache_dir), revision or "main", commit)
            return commit

    def _known(self, revision: str | None) -> str:
        """The commit of a revision according to the cache."""
        with self.explained("its newest revision", revision):
            found = self.api.resolve_revision(
                self.repo_id, revision=revision, cache_dir=self.cache_dir, local_files_only=True
            )
            if not COMMIT.fullmatch(str(found.resolved)):
                raise WeightsError(
                    f"The cache of {self.repo_id} names no commit for {revision or 'main'!r}; remove it."
                )
            return str(found.resolved)

    def check_id(self) -> None:
        """Raise WeightsError unless the id is ``"owner/name"``: it becomes part of URLs and folder names."""
        if not is_hub_id(self.repo_id):
            raise WeightsError(
                f"{self.repo_id!r} is neither a folder here nor a Hub id 'owner/name'; check the spelling."
            )

    def fetch(self, file: str, commit: str, *, limit: int, again: bool = False) -> Path:
        """The cached copy of a file at a commit, downloaded if missing or if ``again``; at most ``limit`` bytes."""
        self.check_id()
        with self.explained(file, commit):
            cached = None if again else self.cached(file, commit)
            if cached:
                return Path(cached)
            if self.offline:
                raise ConnectionError("offline")
            cache = cache_of(self.repo_id, self.cache_dir)
            options: dict[str, Any] = {"cache": cache, "limit": limit, "again": again}
            return _patiently(lambda: download(self.api, self.repo_id, file, commit, **options))

    def forget(self, path: Path) -> None:
        """Remove a file with wrong bytes from the cache, so that no one uses it."""
        blob = path.parent / path.readlink() if path.is_symlink() else None
        with suppress(OSError):  # it stays in a read-only cache, but every load refuses it
            for file in (path, blob):
                if file:
                    file.unlink(missing_ok=True)

    def cached(self, file: str, commit: str) -> str | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repo_id, file, cache_dir=self.cache_dir, revision=commit)
        return found if isinstance(found, str) else None

    @contextmanager
    def explained(self, what: str, revision: str | None = None) -> Iterator[None]:
        """Turn errors of huggingface_hub, with any HTTP library, into a WeightsError."""
        from huggingface_hub import errors

        # First base of HfHubHTTPError: the root of the errors of its HTTP library, be it httpx, httpx2 or another.
        http_error = errors.HfHubHTTPError.__mro__[1]
        named = ("EntryNotFoundError", "RevisionResolutionError", "XetDownloadError", "HFValidationError")
        known = [getattr(errors, name) for name in named if hasattr(errors, name)]
        try:
            yield
        except WeightsError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, http_error, *known) as error:
            raise WeightsError(_sentence(error, self, what, revision)) from error


def _patiently(call: Callable[[], T]) -> T:
    """Call up to three times on errors that may be temporary: a server error, or a body that ended early."""
    for pause in PAUSES:
        try:
            return call()
        except Exception as error:
            if not _may_pass(error):
                raise
            log.warning("%s; trying again in %g s", str(error).splitlines()[0], pause)
            time.sleep(pause)
    return call()


def _may_pass(error: Exception) -> bool:
    return _status(error) >= 500 or isinstance(error, EndedEarlyError)


def _is_away(error: Exception) -> bool:
    """Whether the Hub did not answer at all; a refusal is an answer."""
    return not isinstance(error, WeightsError) and (_status(error) >= 500 or _status(error) == 0)


def _status(error: BaseException | None) -> int:
    """HTTP status behind an error, 0 if there is none."""
    from huggingface_hub.errors import HfHubHTTPError

    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _sentence(error: BaseException, repo: Repo, what: str, revision: str | None) -> str:
    from huggingface_hub import errors

    hub = repo.api.endpoint
    name, at = f"the Hub repository {repo.repo_id!r}", f" at revision {revision!r}" if revision else ""
    cause = error.__cause__ if isinstance(error, ValueError) and error.__cause__ else error  # a forced download
    status = _status(cause)
    if isinstance(cause, errors.HFValidationError):
        return f"{repo.repo_id!r} is neither a folder here nor a Hub id 'owner/name'; check the spelling."
    if isinstance(cause, errors.GatedRepoError):
        return f"Access to {name} must be asked for: accept its terms on {hub}/{repo.repo_id}, then `hf auth login`."
    if isinstance(cause, errors.RepositoryNotFoundError) or status in (401, 403):
        return (
            f"{hub} shows no repository {repo.repo_id!r} to you (HTTP {status}), and no folder has that name. Check "
            "the name, or if it is private run `hf auth login` or pass token=."
        )
    if isinstance(cause, errors.RevisionNotFoundError):
        return (
            f"{name[0].upper()}{name[1:]} has no revision {revision!r}; give a branch, a tag or a commit that it has."
        )
    if isinstance(cause, errors.RemoteEntryNotFoundError):
        return f"{name[0].upper()}{name[1:]} holds no {what}{at}; it was not made by stmga's push_to_hub."
    return _no_file(repo, what, name, at, cause, status)


def _no_file(repo: Repo, what: str, name: str, at: str, cause: BaseException, status: int | None) -> str:
    """The message if the repository is known, but the file was neither downloaded nor cached."""
    from huggingface_hub import constants

    hub, cache = repo.api.endpoint, repo.cache_dir or constants.HF_HUB_CACHE
    if what == UPLOAD:
        reason = "HF_HUB_OFFLINE is set" if repo.offline else f"HTTP {status}" if status else "no connection"
        return f"Nothing was uploaded to {repo.repo_id!r} at {hub} ({reason}); check the network and try again."
    if repo.offline:
        return (
            f"Working offline, and the cache {cache} has no complete copy of {name}{at} ({what}). Load it once with "
            "network, or give a folder that save_pretrained made."
        )
    if status:
        return f"{hub} answered HTTP {status} for {what} of {name}; try again later, or load from a folder."
    if isinstance(cause, EndedEarlyError):
        return f"The download of {what} from {name} ended early {len(PAUSES) + 1} times; try again later."
    if isinstance(cause, OSError) and cause.errno is not None and not isinstance(cause, ConnectionError):
        return (
            f"The cache {cache} cannot take {what} of {name} ({cause.strerror}); free some space, or name another "
            "folder with cache_dir= or HF_HOME."
        )
    return (
        f"Could not download {name}{at} from {hub} ({what}), and the cache {cache} has no complete copy. Check the "
        "network and HF_ENDPOINT and try again, or give a folder that save_pretrained made."
    )
