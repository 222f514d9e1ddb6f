"""Downloads one file of a Hub repository into huggingface_hub's cache, counting its bytes.

A body that is longer than announced, too large for its kind, or too slow is dropped and leaves nothing behind. The
requests use huggingface_hub's own session, with its proxies, certificates and tokens.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from stmga._version import __version__
from stmga.hub.records import WeightsError
from stmga.utils.files import atomic_write
from stmga.utils.foreign import MB, parse_json

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")

REDIRECTS = 10
PATIENCE = 60.0  # seconds for the headers of an answer, or the next piece of a body
WINDOW = 30.0  # seconds in which a body must bring some bytes
SLOWEST = 1024  # bytes a second, over a window
ANSWER_LIMIT = 32 * MB  # of the Hub's answer about a repository, which lists its files
COMMIT = re.compile(r"[0-9a-f]{40}")
ETAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")  # it becomes a file name


class EndedEarlyError(ConnectionError):
    """A body that ended early; another try may succeed."""


def commit_of(api: HfApi, repo_id: str, revision: str | None) -> str:
    """The current commit of a revision of a repository, from the Hub."""
    url = f"{api.endpoint}/api/models/{repo_id}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
    with _answer(api, url) as response:
        text = b"".join(_counted(response, ANSWER_LIMIT, f"the Hub's answer about {repo_id}"))
    try:
        found = parse_json(text)
    except ValueError as error:
        raise WeightsError(f"{api.endpoint} did not answer with JSON about {repo_id}: {error}.") from error
    sha = found.get("sha") if isinstance(found, dict) else None
    if not isinstance(sha, str) or not COMMIT.fullmatch(sha):
        raise WeightsError(f"{api.endpoint} named no commit of {repo_id}; check HF_ENDPOINT, or load from a folder.")
    return sha


def download(api: HfApi, repo_id: str, file: str, commit: str, cache: Path, *, limit: int, again: bool) -> Path:
    """The cached copy of a file at a commit, downloaded if the cache does not have it, or if ``again``."""
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(repo_id, file, revision=commit, endpoint=api.endpoint)
    about = _within(lambda: api.get_hf_file_metadata(url=url), url)
    etag, size = about.etag, about.size
    if etag is None or not ETAG.fullmatch(etag) or about.commit_hash not in (None, commit):
        raise WeightsError(f"{api.endpoint} described {file} of {repo_id} as no Hub does; check HF_ENDPOINT.")
    if size is not None and size > limit:
        raise WeightsError(
            f"{file} of {repo_id} has {size:,} bytes, and at most {limit:,} are expected: do not use it."
        )
    blob = cache / "blobs" / etag
    if again or not blob.is_file():
        _fetch(api, url, blob, f"{file} of {repo_id}", size, limit)
    return _point(cache / "snapshots" / commit / file, blob)


def cache_of(repo_id: str, cache_dir: str | Path | None) -> Path:
    """Where huggingface_hub keeps a repository."""
    from huggingface_hub import constants

    return Path(cache_dir or constants.HF_HUB_CACHE).expanduser() / f"models--{repo_id.replace('/', '--')}"


def remember(cache: Path, revision: str, commit: str) -> None:
    """Store the commit of a revision, so that it can be resolved offline; a read-only cache is not an error."""
    ref = cache / "refs" / revision
    if not ref.resolve().is_relative_to((cache / "refs").resolve()):
        return
    with suppress(OSError):
        ref.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(ref, commit.encode())


@contextmanager
def _answer(api: HfApi, url: str) -> Iterator[Any]:
    """The response to a request, its body not yet read."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    headers = build_hf_headers(token=api.token, library_name="stmga", library_version=__version__)
    headers["Accept-Encoding"] = "identity"  # so that the bytes received are the bytes written
    client = get_session()
    request = client.build_request("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    for _ in range(REDIRECTS):
        response: Any = _within(lambda: client.send(request, stream=True, follow_redirects=False), url)  # noqa: B023
        try:
            if response.next_request is None:
                hf_raise_for_status(_without_body(response) if response.is_error else response)
                yield response
                return
            request = response.next_request  # without the token, where it is another host
        finally:
            response.close()
    raise WeightsError(f"{api.endpoint} redirected {url} more than {REDIRECTS} times; check HF_ENDPOINT.")


def _without_body(response: Any) -> Any:
    """The same answer with an empty body. huggingface_hub would read that of an error, which may never end."""
    headers = [(name, value) for name, value in response.headers.items() if name.startswith("x-")]
    return type(response)(response.status_code, headers=headers, content=b"", request=response.request)


def _within(call: Callable[[], T], url: str) -> T:
    """The result of a call that waits for a server; one that waits too long is left behind in a thread of its own.

    The time-outs of HTTP libraries begin again with each byte, so a byte every few seconds would never end.
    """
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:  # of any kind: it is raised again below
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if raised:
        raise raised[0]
    if not found:
        raise WeightsError(f"{url} did not answer within {PATIENCE:.0f} s and was given up; try later.")
    return found[0]


def _fetch(api: HfApi, url: str, blob: Path, what: str, size: int | None, limit: int) -> None:
    blob.parent.mkdir(parents=True, exist_ok=True)
    temp = blob.with_name(f"{blob.name}.{uuid.uuid4().hex[:8]}.incomplete")
    try:
        with _answer(api, url) as response, open(temp, "xb") as file:
            for chunk in _counted(response, limit if size is None else size, what):
                file.write(chunk)
            got = file.tell()
        if size is not None and got < size:
            raise EndedEarlyError(f"{what} ended after {got:,} of {size:,} bytes")
        os.replace(temp, blob)
    finally:
        temp.unlink(missing_ok=True)


def _counted(response: Any, limit: int, what: str) -> Iterator[bytes]:
    """The chunks of a body, up to ``limit`` bytes in all and no slower than :data:`SLOWEST`."""
    from huggingface_hub.errors import HfHubHTTPError

    http_error: Any = HfHubHTTPError.__mro__[1]  # the root of the errors of its HTTP library
    total, begun, since = 0, time.monotonic(), 0  # since: the bytes of this window
    try:
        pieces = response.iter_raw()
        while (chunk := _within(lambda: next(pieces, None), what)) is not None:
            total, since = total + len(chunk), since + len(chunk)
            if total > limit:
                raise WeightsError(f"{what} has more than the {limit:,} bytes that are expected: it was given up.")
            if (seconds := time.monotonic() - begun) > WINDOW:
                if since < SLOWEST * seconds:
                    raise WeightsError(
                        f"{what} came with {since / seconds:.0f} bytes a second and was given up; try later."
                    )
                begun, since = time.monotonic(), 0
            yield chunk
    except http_error as error:
        raise EndedEarlyError(f"{what} broke off after {total:,} bytes ({type(error).__name__})") from error


def _point(pointer: Path, blob: Path) -> Path:
    """Make a snapshot's file point to the content: a link if the file system has links, else a copy."""
    if pointer.is_symlink() and pointer.resolve() == blob.resolve():
        return pointer
    pointer.parent.mkdir(parents=True, exist_ok=True)
    temp = pointer.with_name(f".{pointer.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            temp.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:
            shutil.copyfile(blob, temp)
        os.replace(temp, pointer)
    finally:
        temp.unlink(missing_ok=True)
    return pointer
