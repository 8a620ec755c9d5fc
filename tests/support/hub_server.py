"""A hub of one's own: an HTTP server on this machine that answers as huggingface.co does, for the requests we make.

What it answers to whom follows the real one: without a token a private model looks like a missing one (401), the
page of a gated model is open while its files are not, and a token that may not read gets a 404.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Repo:
    """A model's repository: its files at every commit."""

    owner: str
    private: bool = False
    gated: bool = False
    granted: set[str] = field(default_factory=set)
    """Users whom a gated repository is open to, besides its owner."""
    locked: bool = False
    """Whether the files are kept back from everybody."""
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    """Of the commits that were pushed."""

    def commit(self, files: Files, branch: str = "main") -> str:
        """Let a branch point to a new commit with these files; returns its hash."""
        sha = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """The hash of a branch's, tag's or commit's commit."""
        return self.branches.get(revision, revision if revision in self.commits else None)

    def files(self, branch: str = "main") -> Files:
        """The files that a branch holds."""
        return self.commits[self.branches[branch]]


@dataclass
class Hub:
    """What the server holds and what it was asked."""

    url: str
    repos: dict[str, Repo] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    """Token -> whose it is."""
    blobs: Files = field(default_factory=dict)
    """Uploaded large files by their SHA-256."""
    requests: list[str] = field(default_factory=list)
    """Method and path of every request, in order."""
    broken: bool = False
    """Answer every request with 503."""
    full: bool = False
    """Make no new repository."""

    def add(self, name: str, files: Files, **settings: Any) -> Repo:
        """A new repository with one commit."""
        repo = self.repos[name] = Repo(owner=name.partition("/")[0], **settings)
        repo.commit(files)
        return repo


class Refusal(Exception):
    """An answer that is no 200."""

    def __init__(self, status: int, code: str = "", message: str = "", content: object = b"") -> None:
        super().__init__(status)
        self.status, self.content = status, content
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.headers = {name: value for name, value in headers.items() if value}


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[Hub]

    def answer(self) -> None:
        asked = f"{self.command} {urlsplit(self.path).path}"
        self.hub.requests.append(asked)
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.more_headers: dict[str, str] = {}
        try:
            self.send(200, self.content(asked), self.more_headers)
        except Refusal as refusal:
            self.send(refusal.status, refusal.content, refusal.headers)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def content(self, asked: str) -> object:
        if self.hub.broken:
            raise Refusal(503)
        for pattern, method in _ROUTES:
            if match := re.fullmatch(pattern, asked):
                return method(self, *map(unquote, match.groups()))
        raise Refusal(404, message=f"the fake hub does not know {asked}")

    def send(self, status: int, content: object, headers: dict[str, str]) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    # Who asks, and for what

    def user(self) -> str | None:
        header = self.headers.get("Authorization")
        if header is None:
            return None
        try:
            return self.hub.users[header.removeprefix("Bearer ")]
        except KeyError:
            raise Refusal(401, message="Invalid credentials in Authorization header") from None

    def readable(self, name: str) -> Repo:
        user = self.user()
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and user != repo.owner):
            raise Refusal(401 if user is None else 404, "RepoNotFound", "Repository not found")
        return repo

    def writable(self, name: str) -> Repo:
        repo = self.readable(name)
        if self.user() != repo.owner:
            raise Refusal(403, message="you may not write here")
        return repo

    def at(self, repo: Repo, revision: str) -> str:
        if (sha := repo.resolve(revision)) is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha

    # Reading

    def front_page(self) -> object:
        return b"<html>"

    def info(self, name: str, revision: str = "main") -> object:
        repo = self.readable(name)
        sha = self.at(repo, revision)
        siblings = [{"rfilename": path, "size": len(content)} for path, content in repo.commits[sha].items()]
        return {"id": name, "sha": sha, "private": repo.private, "gated": repo.gated, "siblings": siblings}

    def tree(self, name: str, revision: str) -> object:
        repo = self.readable(name)
        files = repo.commits[self.at(repo, revision)]
        return [
            {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for path, content in files.items()
        ]

    def file(self, name: str, revision: str, path: str) -> object:
        repo = self.readable(name)
        user = self.user()
        if repo.gated and user != repo.owner and user not in repo.granted:
            raise Refusal(401 if user is None else 403, "GatedRepo", f"Access to model {name} is restricted")
        if repo.locked:
            raise Refusal(403, message="this repository is locked")
        sha = self.at(repo, revision)
        if path not in repo.commits[sha]:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        content = repo.commits[sha][path]
        self.more_headers = {"X-Repo-Commit": sha, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        return content

    # Writing

    def create(self) -> object:
        if self.hub.full:
            raise Refusal(402, message="Private storage limit reached")
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if self.user() != wanted["organization"]:
            raise Refusal(403, message=f"You don't have the rights to create a model under {wanted['organization']}")
        self.hub.add(name, {".gitattributes": b""}, private=wanted["visibility"] == "private")
        return {"url": f"{self.hub.url}/{name}"}

    def branch(self, name: str, branch: str) -> object:
        repo = self.writable(name)
        if branch in repo.branches:
            raise Refusal(409, message="Reference already exists")
        repo.branches[branch] = repo.branches["main"]
        return {}

    def validate_card(self) -> object:
        if json.loads(self.body)["content"].startswith("---\n"):
            return {"errors": [], "warnings": []}
        raise Refusal(400, content={"errors": [{"message": "no header"}], "warnings": []})

    def preupload(self, name: str, revision: str) -> object:
        self.at(self.writable(name), revision)
        asked = [file["path"] for file in json.loads(self.body)["files"]]
        modes = {path: "lfs" if path.endswith(".safetensors") else "regular" for path in asked}
        return {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]}

    def large_files(self, name: str) -> object:
        self.writable(name)
        asked = json.loads(self.body)["objects"]
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.url}/large/{each['oid']}"}}}
            for each in asked
            if each["oid"] not in self.hub.blobs
        ]
        return {"transfer": "basic", "objects": objects}

    def large_file(self, oid: str) -> object:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.blobs[oid] = self.body
        return b""

    def commit(self, name: str, revision: str) -> object:
        repo = self.writable(name)
        files = dict(repo.commits[self.at(repo, revision)])
        for line in map(json.loads, self.body.splitlines()):
            kind, value = line["key"], line["value"]
            if kind == "header":
                repo.messages.append(value["summary"])
            elif kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
        sha = repo.commit(files, revision)
        return {"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha}


_NAME = r"([^/]+/[^/]+)"
_ROUTES: list[tuple[str, Callable[..., object]]] = [
    (r"HEAD /?", _Handler.front_page),
    (rf"GET /api/models/{_NAME}", _Handler.info),
    (rf"GET /api/models/{_NAME}/revision/([^/]+)", _Handler.info),
    (rf"GET /api/models/{_NAME}/tree/([^/]+)", _Handler.tree),
    (rf"(?:GET|HEAD) /{_NAME}/resolve/([^/]+)/(.+)", _Handler.file),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate_card),
    (rf"POST /api/models/{_NAME}/branch/([^/]+)", _Handler.branch),
    (rf"POST /api/models/{_NAME}/preupload/([^/]+)", _Handler.preupload),
    (rf"POST /api/models/{_NAME}/commit/([^/]+)", _Handler.commit),
    (rf"POST /{_NAME}\.git/info/lfs/objects/batch", _Handler.large_files),
    (r"PUT /large/([0-9a-f]+)", _Handler.large_file),
]


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield handler.hub
        finally:
            server.shutdown()
            thread.join()
