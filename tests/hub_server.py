"""A hub on this machine: what huggingface_hub asks of https://huggingface.co, answered from folders, and counted.

Set ``HF_ENDPOINT`` to its address in a process of its own: clients read that variable when they are imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fixtures import wikitext

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves ``repos``: repository id (data sets: ``datasets/id``) → folder; those in ``gated`` are refused."""

    def __init__(self, repos: dict[str, Path], gated: set[str] = frozenset()) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos, self.gated = repos, gated
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving(repos: dict[str, Path], gated: set[str] = frozenset()) -> Iterator[Hub]:
    """Serve folders as repositories until the end of the block."""
    with Hub(repos, gated) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer."""
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        listed = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/revision/(.+)", path)
        wanted = re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not listed and not wanted:
            return self._send(404, b"{}", {}, body)
        repo = ("datasets/" if listed[1] == "datasets" else "") + listed[2] if listed else wanted[1]
        revision = listed[3] if listed else wanted[2]
        if repo not in self.server.repos:
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        commit = wikitext.COMMIT if repo.startswith("datasets/") else COMMIT
        if revision not in ("main", commit):
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
        folder = self.server.repos[repo]
        # The hub lists a gated repository to anyone, and refuses its files.
        if listed:
            files = sorted(f for f in folder.rglob("*") if f.is_file())
            siblings = [{"rfilename": str(f.relative_to(folder)), "size": f.stat().st_size} for f in files]
            found = {"id": listed[2], "sha": commit, "siblings": siblings, "private": False, "gated": repo in self.server.gated}
            return self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"}, body)
        if repo in self.server.gated:
            return self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}, body)
        file = folder / wanted[3]
        if not file.is_file():
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body)
        data = file.read_bytes()
        etag = hashlib.sha256(data).hexdigest()
        return self._send(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, body)

    def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
