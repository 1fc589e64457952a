"""The program that a mirror's wrapper starts: a simulated provider, served to one Terraform.

    python -m tests.support.simulated.serve SCHEMA_FILE WORLD_FILE

It listens on 127.0.0.1 and ends when Terraform says so or is gone.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.simulated.protocol import MESSAGES, METHODS
from tests.support.simulated.provider import SimulatedProvider
from tests.support.simulated.schema import read_schema
from tests.support.simulated.world import World

_GRPC: Final[Any] = grpc  # its stub is loose
_LOOK_S: Final = 0.5
_THREADS_MAX: Final = 10
_CORE_PROTOCOL, _PROVIDER_PROTOCOL = 1, 6


def main(schema_file: str, world_file: str) -> None:
    """Serve until told to stop, or until the Terraform that started this is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is Terraform's to handle
    parent = os.getppid()
    ended = threading.Event()
    provider = SimulatedProvider(read_schema(Path(schema_file)), World(Path(world_file)))
    server = _GRPC.server(ThreadPoolExecutor(max_workers=_THREADS_MAX))
    server.add_generic_rpc_handlers(_handlers(provider, ended))
    certificate, credentials = _credentials()
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    address = f"{_CORE_PROTOCOL}|{_PROVIDER_PROTOCOL}|tcp|127.0.0.1:{port}|grpc"
    sys.stdout.write(f"{address}|{base64.b64encode(certificate).decode().rstrip('=')}\n")
    sys.stdout.flush()
    while not ended.wait(_LOOK_S) and os.getppid() == parent:
        pass
    server.stop(grace=_LOOK_S).wait(_LOOK_S)


def _handlers(provider: SimulatedProvider, ended: threading.Event) -> tuple[Any, ...]:
    answers = provider.methods()
    methods = {
        name: _method(question, answers.get(name, _agree))
        for name, (question, _answer) in METHODS.items()
    }

    def shut_down(question: Any) -> Any:
        ended.set()
        return _agree(question)

    return (
        _GRPC.method_handlers_generic_handler("tfplugin6.Provider", methods),
        _GRPC.method_handlers_generic_handler(
            "plugin.GRPCController", {"Shutdown": _method("Empty", shut_down)}
        ),
    )


def _agree(_question: Any) -> Any:
    return MESSAGES["Empty"]()


def _method(question: str, answer: Callable[[Any], Any]) -> Any:
    def answered(asked: Any, _context: Any) -> Any:
        return answer(asked)

    return _GRPC.unary_unary_rpc_method_handler(
        answered,
        request_deserializer=MESSAGES[question].FromString,
        response_serializer=_bytes,
    )


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _credentials() -> tuple[bytes, Any]:
    """A certificate for this one process (DER), which Terraform is told to expect, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    return (
        certificate.public_bytes(serialization.Encoding.DER),
        _GRPC.ssl_server_credentials([(secret, chain)]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
