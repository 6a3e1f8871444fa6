"""A stand-in for the Hugging Face Hub on loopback: as much of it as one model's way there and back.

It keeps repositories in memory, takes weights by Git LFS as the Hub does, and remembers what was
asked of it.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback import Loopback

TOKEN = "hf_standin"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    agent: str


@dataclass
class Hub(Loopback):
    """Repositories by name, each a mapping of file names to their bytes."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        path = request.path.partition("?")[0]
        agent = request.headers.get("User-Agent", "")
        self.asked.append(Asked(request.command, request.path, agent))
        writes = request.command in ("POST", "PUT") and not path.startswith("/objects/")
        if writes and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            _send(request, 401, b'{"error": "Invalid username or password."}')
            return
        for method, pattern, answer in self._routes():
            found = re.fullmatch(pattern, path)
            if found and method == request.command.replace("HEAD", "GET"):
                answer(request, body, *found.groups())
                return
        _send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _routes(self) -> list[tuple[str, str, Callable[..., None]]]:
        name = r"([\w-]+/[\w-]+)"
        return [
            ("POST", "/api/validate-yaml", self._validate),
            ("POST", "/api/repos/create", self._create),
            ("POST", f"/api/models/{name}/preupload/main", self._preupload),
            ("POST", f"/{name}.git/info/lfs/objects/batch", self._batch),
            ("PUT", r"/objects/(\w+)", self._keep),
            ("POST", f"/api/models/{name}/commit/main", self._commit),
            ("GET", f"/api/models/{name}/revision/.*", self._revision),
            ("GET", f"/api/models/{name}/tree/.*", self._tree),
            ("GET", f"/{name}/resolve/.*?/(.*)", self._file),
        ]

    def _validate(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        assert json.loads(body)["content"].startswith("---\n")
        _send_json(request, {"errors": [], "warnings": []})

    def _create(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization')}/{asked['name']}"
        self.repositories.setdefault(name, {})
        self.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        _send_json(request, {"url": self.url(f"/{name}"), "id": name})

    def _preupload(self, request: BaseHTTPRequestHandler, body: bytes, name: str) -> None:
        files = [
            {"path": file["path"], "shouldIgnore": False,
             "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
            for file in json.loads(body)["files"]
        ]  # fmt: skip
        _send_json(request, {"files": files})

    def _batch(self, request: BaseHTTPRequestHandler, body: bytes, name: str) -> None:
        objects = [
            {**wanted, "actions": {"upload": {"href": self.url(f"/objects/{wanted['oid']}")}}}
            for wanted in json.loads(body)["objects"]
        ]
        _send_json(request, {"transfer": "basic", "objects": objects})

    def _keep(self, request: BaseHTTPRequestHandler, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.objects[oid] = body
        _send(request, 200, b"")

    def _commit(self, request: BaseHTTPRequestHandler, body: bytes, name: str) -> None:
        files = {}
        for entry in map(json.loads, body.splitlines()):
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        self.repositories[name] |= files
        sha = self._sha(name)
        url = self.url(f"/{name}/commit/{sha}")
        _send_json(request, {"success": True, "commitOid": sha, "commitUrl": url})

    def _revision(self, request: BaseHTTPRequestHandler, body: bytes, name: str) -> None:
        if name not in self.repositories:
            _send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        siblings = [{"rfilename": path} for path in self.repositories[name]]
        _send_json(request, {"id": name, "sha": self._sha(name), "siblings": siblings})

    def _tree(self, request: BaseHTTPRequestHandler, body: bytes, name: str) -> None:
        _send_json(request, [
            {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
            for path, content in self.repositories[name].items()
        ])  # fmt: skip

    def _file(self, request: BaseHTTPRequestHandler, body: bytes, name: str, path: str) -> None:
        content = self.repositories[name][path]
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": self._sha(name)}
        _send(request, 200, content, headers)

    def _sha(self, name: str) -> str:
        files = self.repositories[name]
        return hashlib.sha1(b"".join(files[path] for path in sorted(files))).hexdigest()


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _send_json(request: BaseHTTPRequestHandler, value: Any) -> None:
    _send(request, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _send(
    request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    request.send_response(status)
    for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
        request.send_header(key, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
