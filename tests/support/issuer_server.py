"""An outside issuer on loopback: its keys, its tokens, and what its server of keys may do wrong. Not a test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.support.http_faces import AUDIENCE

ISSUER = "https://login.paybill.test"
Key = RSAKey | ECKey | OKPKey


class OutsideIssuer:
    """Signs tokens, and serves a JWK set. `keys` is what it publishes now."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.padding = 0
        self.asked = 0
        self.url = ""
        self._private: dict[str, tuple[Key, str]] = {}

    def new_key(self, kid: str, algorithm: str = "ES256", **published: Any) -> None:
        """Make a key, and publish its public half with further members."""
        if algorithm in ("RS256", "PS256"):
            key: Key = RSAKey.generate_key(2048)
        elif algorithm == "ES256":
            key = ECKey.generate_key("P-256")
        else:
            key = OKPKey.generate_key("Ed25519")
        self._private[kid] = (key, algorithm)
        self.keys.append({**key.as_dict(private=False), "kid": kid, **published})

    def token(self, kid: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token of that key; what is given stands in place of the usual, None leaves it out."""
        key, algorithm = self._private[kid]
        now = int(time.time())
        told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u-1", "iat": now, "exp": now + 300}
        said = {name: value for name, value in {**told, **claims}.items() if value is not None}
        named = {"typ": "at+jwt", "alg": algorithm, "kid": kid, **(header or {})}
        return jwt.encode(named, said, key, algorithms=[algorithm])

    def private(self, kid: str) -> Key:
        """A key itself."""
        return self._private[kid][0]

    def body(self) -> bytes:
        """What the server says now."""
        return json.dumps({"keys": self.keys, "padding": "x" * self.padding}).encode()


@contextmanager
def outside_issuer() -> Generator[OutsideIssuer]:
    """An issuer whose server of keys answers on loopback."""
    issuer = OutsideIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            body = issuer.body()
            self.send_response(issuer.status)
            for name, value in issuer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                return

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{server.server_port}/keys"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
