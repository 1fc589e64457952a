"""A small HTTP server on loopback that stands in for a cloud, keeps what it was asked, and can be made to fail. Not a cloud."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

SLOW_S_MAX = 10.0
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
WORDS = "words-of-the-cloud"
Trouble: TypeAlias = int | Literal["slow", "broken", "cut", "list"]


@dataclass(frozen=True)
class Asked:
    """One request. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What is answered: bytes as they are, anything else as JSON."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Answers: TypeAlias = Callable[[Asked], Answer]
Fails: TypeAlias = Callable[[Asked, int], Answer]


def failed_words(asked: Asked) -> str:
    """What a cloud says of a failure: more than may be passed on."""
    return f"{WORDS} {asked.headers.get('authorization', '')}"


def _failed(asked: Asked, status: int) -> Answer:
    words = failed_words(asked)
    return Answer(
        status, {"error": {"code": status, "message": words}, "code": "Odd", "message": words}
    )


class StubServer:
    """`answers` gives what a request gets; `trouble` is what it gets instead, where `spared` lets it."""

    def __init__(
        self, answers: Answers, *, tls: ssl.SSLContext | None = None, fails: Fails = _failed
    ) -> None:
        self.answers = answers
        self.fails = fails
        self.trouble: Trouble | None = None
        self.spared: Callable[[Asked], bool] = lambda _asked: False
        self.asked: list[Asked] = []
        self.faults: list[Exception] = []
        self._released = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(SLOW_S_MAX)
        assert self.faults == []  # what it could not answer is a fault of its own

    @contextmanager
    def troubled(
        self, trouble: Trouble, spared: Callable[[Asked], bool] | None = None
    ) -> Generator[None]:
        """Everything that is asked within goes wrong in one way, but what is spared."""
        self.trouble, self.spared = trouble, spared or (lambda _asked: False)
        try:
            yield
        finally:
            self.trouble = None
            self._released.set()

    def respond(self, asked: Asked) -> Answer | None:
        """None where the connection is to end without a word."""
        self.asked.append(asked)
        if self.trouble is None or self.spared(asked):
            try:
                return self.answers(asked)
            except Exception as error:
                self.faults.append(error)
                raise
        match self.trouble:
            case "slow":
                self._released.clear()
                self._released.wait(SLOW_S_MAX)
                return None
            case "cut":
                return None
            case "broken":
                return Answer(200, b'{"half": ', {"Content-Type": "application/json"})
            case "list":
                return Answer(200, ["not", "what", "was", "asked"])
            case status:
                return self.fails(asked, status)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def chunked(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def handle_one(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                in_parts = "chunked" in self.headers.get("transfer-encoding", "")
                asked = Asked(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.chunked() if in_parts else self.rfile.read(length),
                )
                answer = server.respond(asked)
                if answer is None:
                    self.close_connection = True
                    return
                content = answer.content
                headers = {"Content-Type": "application/json", **answer.headers}
                self.send_response(answer.status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: what a test prints is its own."""

        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.handle_one)
        return Handler
