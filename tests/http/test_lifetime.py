"""The server over HTTP as a process: it ends cleanly, and sees to it that a worker runs."""

from __future__ import annotations

import signal
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.worker_state import read_state
from tests.conftest import MakeHouse
from tests.support.house import House
from tests.support.http_faces import (
    FOR_HTTP,
    bearer,
    exchange,
    http_face,
    modern_headers,
    modern_request,
    post,
)
from tests.support.waiting import until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_its_sign_of_life(
    shared: House, number: signal.Signals
) -> None:
    with http_face(shared) as face:
        token = shared.issue("viewer", "acme", bound=FOR_HTTP)
        assert post(face, token).status_code == 200
        before = len(list((shared.workspace.state / "faces").glob("*.lock")))
        face.process.send_signal(number)
        assert face.process.wait(30) == 0
        assert len(list((shared.workspace.state / "faces").glob("*.lock"))) == before - 1
        assert "Traceback" not in face.told()


@pytest.mark.sweep
def test_a_call_that_is_under_way_is_answered_before_the_server_ends(shared: House) -> None:
    house = shared.with_limits(call_deadline_s="4")
    with (
        http_face(house, "--failpoints", "face.decided:1:hang") as face,
        ThreadPoolExecutor(1) as threads,
    ):
        token = shared.issue("viewer", "acme", bound=FOR_HTTP)
        asked = threads.submit(post, face, token)
        process = psutil.Process(face.process.pid)
        until(
            lambda: any(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections()),
            "the call has arrived",
        )
        face.process.terminate()
        told = asked.result(60).json()["result"]["structuredContent"]
        assert (told["outcome"], told["code"]) == ("failed", "deadline")
        assert face.process.wait(60) == 0


@pytest.mark.sweep
def test_a_worker_that_was_killed_is_started_again(workspace: MakeHouse) -> None:
    house = workspace()
    with http_face(house) as face:
        token = house.issue("viewer", "acme", bound=FOR_HTTP)
        first = until(lambda: read_state(house.workspace.worker_json), "the worker is ready", 60)
        psutil.Process(first.pid).kill()
        until(
            lambda: (
                (found := read_state(house.workspace.worker_json)) is not None
                and found.pid != first.pid
            ),
            "another worker is ready",
            60,
        )
        until(
            lambda: post(face, token).json()["result"]["structuredContent"]["outcome"] == "done",
            "calls are answered again",
        )


@pytest.mark.sweep
def test_a_server_with_a_certificate_speaks_tls_and_nothing_else(
    shared: House, tmp_path: Path
) -> None:
    chain, key = _certificate(tmp_path)
    files = ("--tls-cert", str(chain), "--tls-key", str(key))
    with http_face(shared, *files) as face:
        token = shared.issue("viewer", "acme", bound=FOR_HTTP)
        trusted = ssl.create_default_context(cafile=str(chain))
        with httpx2.Client(verify=trusted, trust_env=False, timeout=30) as client:
            found = client.post(
                face.local_url,
                headers={**modern_headers("tools/call", "whoami"), **bearer(token)},
                json=modern_request("tools/call", name="whoami", arguments={}),
            )
        assert face.local_url.startswith("https://")
        assert found.status_code == 200
        assert not exchange(face, b"POST /mcp HTTP/1.1\r\n\r\n").startswith(b"HTTP")


def test_a_server_whose_certificate_cannot_be_used_does_not_start(
    shared: House, tmp_path: Path
) -> None:
    chain, _ = _certificate(tmp_path)
    files = ("--tls-cert", str(chain), "--tls-key", str(chain))
    with pytest.raises(AssertionError, match="--tls-cert: and"), http_face(shared, *files):
        pytest.fail("it must not serve")


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, secret
