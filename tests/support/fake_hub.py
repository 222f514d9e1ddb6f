"""A Hub on loopback, in memory: what the real huggingface_hub client needs to create, push and download; and faults.

with FakeHub() as hub:
    sha = hub.commit("user/model", {"config.json": b"..."})
    hub.fault("GET .*safetensors", status=503, times=1)   # answer so once, then as usual
    hub.fault("GET .*safetensors", change=lambda body: body[:-10])  # cut every body short
    ...                                                   # the client, with HF_ENDPOINT = hub.url
    hub.log                                               # the requests, as "GET /api/models/user/model"
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    pattern: str
    times: float
    status: int | None
    change: Callable[[bytes], bytes] | None
    lie: bool


class FakeHub:
    """``url`` is the endpoint, ``log`` the requests, ``auth`` those of them that carried a token."""

    def __init__(self, *, redirect: bool = False, token: str | None = None) -> None:
        self.repos: dict[str, list[dict[str, bytes]]] = {}  # repository -> its commits, newest last
        self.log: list[str] = []
        self.auth: list[str] = []
        self.faults: list[Fault] = []
        self.redirect = redirect  # weights are served by another host, as the Hub's CDN does
        self.token = token  # if set, repositories are private

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        commits = self.repos.setdefault(repo, [])
        commits.append({**(commits[-1] if commits else {}), **files})
        return self.sha(repo, len(commits) - 1)

    @staticmethod
    def sha(repo: str, number: int) -> str:
        return hashlib.sha1(f"{repo} {number}".encode()).hexdigest()

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files of a revision, None if there is no such revision."""
        shas = [self.sha(repo, i) for i in range(len(self.repos[repo]))]
        sha = shas[-1] if revision == "main" else revision
        return (sha, self.repos[repo][shas.index(sha)]) if sha in shas else None

    def fault(
        self,
        pattern: str,
        *,
        status: int | None = None,
        change: Callable[[bytes], bytes] | None = None,
        lie: bool = False,
        times: float = float("inf"),
    ) -> None:
        """For requests ``"METHOD /path"`` that match: answer ``status``, or send a changed body.

        The headers stay those of the true body; ``lie`` gives the length of the changed one, as a broken proxy does.
        """
        self.faults.append(Fault(pattern, times, status, change, lie))

    def take_fault(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.fullmatch(fault.pattern, request):
                fault.times -= 1
                return fault
        return None

    def __enter__(self) -> FakeHub:
        handler = type("Handler", (Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *args: object) -> None:
        pass

    def handle_request(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self.read_body()
        request = f"{self.command} {path}"
        self.hub.log.append(request)
        if self.headers.get("authorization"):
            self.hub.auth.append(request)
        self.current = self.hub.take_fault(request)
        if self.current and self.current.status:
            self.error(self.current.status, "Fault")
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif path == "/api/validate-yaml":
            self.reply(200, {"errors": [], "warnings": []})
        elif path == "/api/whoami-v2":
            self.reply(200, {"type": "user", "name": "user", "orgs": []})
        elif found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(\w+)/(.+)", path):
            commit = self.hub.files(found[1], found[2])
            self.reply(200, commit[1][found[3]] if commit else b"")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|preupload|commit)/(.+))?", path):
            self.repository(found[1], found[2] or "revision", found[3] or "main", body)
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.repository(found[1], "resolve", found[2], found[3].encode())
        else:
            self.error(404, "NoSuchRoute")

    do_GET = do_HEAD = do_POST = handle_request  # noqa: N815

    def create(self, ask: dict[str, str]) -> None:
        repo = f"{ask.get('organization') or 'user'}/{ask['name']}"
        exists = repo in self.hub.repos
        self.hub.repos.setdefault(repo, [{}])
        self.reply(409 if exists else 200, {"url": f"{self.hub.url}/{repo}"})

    def repository(self, repo: str, verb: str, revision: str, body: bytes) -> None:
        allowed = self.hub.token is None or self.headers.get("authorization") == f"Bearer {self.hub.token}"
        if repo not in self.hub.repos or not allowed:
            return self.error(404 if self.headers.get("authorization") else 401, "RepoNotFound")
        commit = self.hub.files(repo, revision)
        if commit is None:
            return self.error(404, "RevisionNotFound")
        sha, files = commit
        if verb == "resolve":
            return self.resolve(repo, sha, files, body.decode())
        if verb == "preupload":  # "regular" for all: no LFS and no Xet, whatever the client has installed
            asked = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            return self.reply(200, {"files": modes})
        if verb == "commit":
            entries = [json.loads(line) for line in body.splitlines()]
            sent = [entry["value"] for entry in entries if entry["key"] == "file"]
            new = self.hub.commit(repo, {file["path"]: base64.b64decode(file["content"]) for file in sent})
            url = f"{self.hub.url}/{repo}/commit/{new}"
            return self.reply(200, {"success": True, "commitOid": new, "commitUrl": url})
        siblings = [{"rfilename": name} for name in files]
        return self.reply(200, {"id": repo, "sha": sha, "private": False, "tags": [], "siblings": siblings})

    def resolve(self, repo: str, sha: str, files: dict[str, bytes], name: str) -> None:
        if name not in files:
            return self.error(404, "EntryNotFound", X_Repo_Commit=sha)
        data = files[name]
        if not name.endswith(".safetensors"):
            etag = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            return self.reply(200, data, X_Repo_Commit=sha, ETag=f'"{etag}"')
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        about = {"X_Repo_Commit": sha, "X_Linked_Etag": etag, "X_Linked_Size": len(data)}
        if not self.hub.redirect:
            return self.reply(200, data, **about)
        other = self.hub.url.replace("127.0.0.1", "localhost")  # another name is another host to the client
        return self.reply(302, b"", Location=f"{other}/cdn/{repo}/{sha}/{name}", **about)

    def error(self, status: int, code: str, **headers: object) -> None:
        self.reply(status, {"error": code}, X_Error_Code=code, X_Error_Message=code, **headers)

    def reply(self, status: int, body: object = b"", **headers: object) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fault = self.current if status == 200 and self.command == "GET" else None
        sent = fault.change(data) if fault and fault.change else data
        length = len(sent) if fault and fault.lie else len(data)
        self.close_connection = len(sent) < length  # the client must see the end of a body that is too short
        self.send_response(status)
        for name, value in {"Content_Length": length, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data
