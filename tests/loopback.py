"""HTTP servers on loopback; one of files that can cut, hang, and remembers what was asked."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Loopback:
    """A server, between entering and leaving, whose subclass has an `answer`."""

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def url(self, path: str = "") -> str:
        """Where it, or something on it, is to be had."""
        return f"http://127.0.0.1:{self._http.server_port}{path}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Send a whole answer."""
        raise NotImplementedError


@dataclass(frozen=True)
class Asked:
    """One request: its path, the first byte it asked for, and what it accepts."""

    path: str
    start: int
    accept: str


@dataclass
class Server(Loopback):
    """Serves `files` by path; `cuts` are the body lengths after which each answer in turn ends."""

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    sized: bool = True  # send Content-Length
    answers: bool = True  # otherwise it accepts connections and stays silent
    hangs: bool = False  # when cut, keep the connection open and send nothing more
    held: bool = False  # answer only once `release` is set
    release: threading.Event = field(default_factory=threading.Event)
    asked: list[Asked] = field(default_factory=list)
    cut: threading.Event = field(default_factory=threading.Event)  # set once a body was cut
    _closing: threading.Event = field(default_factory=threading.Event)

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self.release.set()
        super().__exit__(*error)

    def starts(self, path: str) -> list[int]:
        """Return the first byte asked for in each request for a path."""
        return [asked.start for asked in self.asked if asked.path == path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        self.asked.append(Asked(request.path, start, request.headers.get("Accept", "")))
        if self.held:
            self.release.wait()
        if not self.answers:
            self._closing.wait()
        elif request.path not in self.files:
            request.send_error(404)
        else:
            self._send(request, self.files[request.path], start)

    def _send(self, request: BaseHTTPRequestHandler, body: bytes, start: int) -> None:
        etag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        if not self.ranges or request.headers.get("If-Range", etag) != etag:
            start = 0
        if start >= len(body) > 0:
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("ETag", etag)
        request.send_header("Content-Type", _kind(request.path))
        if self.sized:
            request.send_header("Content-Length", str(len(body) - start))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.end_headers()
        body = body[start:]
        if self.cuts:
            body = body[: self.cuts.pop(0)]
            self.cut.set()
        request.wfile.write(body)
        request.wfile.flush()
        if self.hangs and self.cut.is_set():
            self._closing.wait()


def _kind(path: str) -> str:
    if path.endswith("/json/"):
        return "application/vnd.pypi.simple.v1+json"
    return "text/html" if path.endswith("/") else "application/octet-stream"
