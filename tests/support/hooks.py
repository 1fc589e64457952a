"""Receivers of webhooks on this machine, effects of events, and stores for both. Holds no test."""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select, update

from control_plane.billing.inbox import Arrival, InboundEvent
from control_plane.ports import Store
from control_plane.store.webhook_tables import inbound_event
from tests.support.ledgers import opened_store

LOOPBACK: Final = "127.0.0.1"
HOST: Final = "hooks.example.com"
_END_S: Final = 10
_VALID: Final = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC))


class TestClock:
    """The time that a test gives, and none that passes by itself."""

    __test__ = False

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def passes(self, **of: float) -> datetime:
        self.at += timedelta(**of)
        return self.at


@contextmanager
def hook_store(engine: str, folder: Path, request: pytest.FixtureRequest) -> Generator[Store]:
    """A migrated store on that engine, with tables for effects beside its own."""
    with opened_store(engine, folder, request) as opened:
        with opened.write() as connection:
            EFFECTS.create_all(connection)
        yield opened


# authorities ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Authority:
    """Who vouches for the names of receivers; `trusting` are the settings of whoever trusts it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def trusting(self) -> ssl.SSLContext:
        pem = self.certificate.public_bytes(Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def vouching(self, folder: Path, *names: str) -> ssl.SSLContext:
        """The settings of a server with these names; its key lies in the folder."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [_alternative(name) for name in names]
        built = _certificate(names[0], self.certificate.subject, key)
        built = built.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        signed = built.sign(self.key, SHA256())
        path = folder / f"{names[0]}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + signed.public_bytes(Encoding.PEM)
        )
        settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        settings.load_cert_chain(path)
        return settings


def new_authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of tests")])
    built = _certificate("an authority of tests", named, key)
    root = x509.BasicConstraints(ca=True, path_length=0)
    return Authority(built.add_extension(root, critical=True).sign(key, SHA256()), key)


def _certificate(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID[0])
        .not_valid_after(_VALID[1])
    )


def _alternative(name: str) -> x509.GeneralName:
    if name == LOOPBACK:
        return x509.IPAddress(IPv4Address(name))
    return x509.DNSName(name)


# receivers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request as it came: header names in small letters, the body as raw bytes."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What a receiver answers: so many seconds between two bytes, or `silent`, which never does."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    drip_s: float = 0.0
    silent: bool = False


Answering = Callable[[Request], Reply]


def accepts(_: Request) -> Reply:
    """The answer of a receiver that is content."""
    return Reply()


@dataclass(frozen=True)
class Receiver:
    """A server on this machine. Its requests are in the order in which they came."""

    port: int
    requests: list[Request]
    connections: list[str]

    def url(self, host: str = HOST, path: str = "/paybill") -> str:
        return f"https://{host}:{self.port}{path}"


def always(reply: Reply) -> Answering:
    return lambda _: reply


def in_turn(replies: Sequence[Reply]) -> Answering:
    """One reply after another; the last one from then on."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, tls: ssl.SSLContext | None, answering: Answering) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.tls = tls
        self.answering = answering
        self.requests: list[Request] = []
        self.connections: list[str] = []
        self.closing = threading.Event()

    def finish_request(self, request: object, client_address: object) -> None:
        # In the connection's own thread: a handshake that fails is nobody else's.
        self.connections.append(str(client_address))
        if self.tls is None:
            super().finish_request(request, client_address)  # type: ignore[arg-type]
            return
        request.settimeout(_END_S)  # type: ignore[attr-defined]
        try:
            wrapped = self.tls.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        except OSError:
            return
        with wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever breaks off is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        length = int(self.headers.get("content-length", "0"))
        given = {name.lower(): value for name, value in self.headers.items()}
        seen = Request(self.command, self.path, given, self.rfile.read(length))
        self.server.requests.append(seen)
        reply = self.server.answering(seen)
        if reply.silent:
            self.server.closing.wait(_END_S)
            return
        headers = {"Content-Length": len(reply.body), **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} Said"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        content = "\r\n".join([*lines, "", ""]).encode() + reply.body
        self._write(content, reply.drip_s)

    do_GET = do_POST  # noqa: N815 - the library's own names

    def _write(self, content: bytes, drip_s: float) -> None:
        assert isinstance(self.server, _Server)
        if not drip_s:
            self.wfile.write(content)
            return
        for one in content:
            if self.server.closing.wait(drip_s):
                return
            self.wfile.write(bytes([one]))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def receiver(
    answering: Answering = accepts, tls: ssl.SSLContext | None = None
) -> Generator[Receiver]:
    """A receiver in threads of its own, all of which have ended after the block."""
    server = _Server(tls, answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Receiver(server.server_address[1], server.requests, server.connections)
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(_END_S)


@contextmanager
def receivers(authority: Authority, folder: Path) -> Generator[Callable[..., Receiver]]:
    """`start(answering, *names)` starts a receiver that is trusted under these names.

    All of them, and every thread that was begun meanwhile, have ended after the block.
    """
    before = set(threading.enumerate())
    with ExitStack() as stack:

        def start(answering: Answering = accepts, *names: str) -> Receiver:
            tls = authority.vouching(folder, *(names or (HOST,)))
            return stack.enter_context(receiver(answering, tls))

        yield start
    assert set(threading.enumerate()) <= before


def leads_to(*answers: Sequence[str]) -> Callable[[str, int], Sequence[str]]:
    """A resolver with one answer after another; the last one from then on."""
    left = list(answers)
    return lambda _host, _port: left.pop(0) if len(left) > 1 else left[0]


# effects -------------------------------------------------------------------------------------

# What effects write to: a row for each time that one took place, and each subject's last state.
EFFECTS: Final = MetaData()
DONE: Final = Table(
    "done", EFFECTS, Column("number", Integer, primary_key=True), Column("event", String)
)
STANDS: Final = Table(
    "stands",
    EFFECTS,
    Column("subject", String, primary_key=True),
    Column("at", Integer),
    Column("is", String),
)


class Paid:
    """An effect that takes the latest state of its subject, by the event's own time."""

    def __init__(self) -> None:
        self.fault: Callable[[InboundEvent], None] = lambda _: None

    def scope(self, event: InboundEvent) -> str | None:
        return str(json.loads(event.body)["subject"])

    def apply(self, connection: Connection, event: InboundEvent) -> str:
        said = json.loads(event.body)
        connection.execute(insert(DONE).values(event=event.id))
        standing = connection.execute(
            select(STANDS).where(STANDS.c.subject == said["subject"]).with_for_update()
        ).first()
        self.fault(event)
        if standing is not None and standing.at >= said["at"]:
            return "superseded"
        values = {"at": said["at"], "is": event.id}
        if standing is None:
            connection.execute(insert(STANDS).values(subject=said["subject"], **values))
        else:
            connection.execute(
                update(STANDS).where(STANDS.c.subject == said["subject"]).values(**values)
            )
        return "applied"


def arrival(name: str = "evt_1", subject: str = "acme", at: int = 1, **more: Any) -> Arrival:
    body = json.dumps({"subject": subject, "at": at, **more}).encode()
    return Arrival(provider="sandbox", id=name, body=body, headers={"x-signature": name})


def event_rows(store: Store) -> dict[str, Any]:
    with store.read() as connection:
        return {row.id: row for row in connection.execute(select(inbound_event))}


def effect_counts(store: Store) -> Counter[str]:
    with store.read() as connection:
        return Counter(connection.execute(select(DONE.c.event)).scalars())


def last_states(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return {row.subject: row[2] for row in connection.execute(select(STANDS))}
