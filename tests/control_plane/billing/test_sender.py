"""One webhook over the wire: where it goes, where it never goes, and what comes back. Real sockets, this machine's own."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr, ValidationError

from control_plane.billing.delivery import Answer
from control_plane.billing.outbox import Parcel
from control_plane.billing.public_address import Network
from control_plane.billing.sender import (
    USER_AGENT,
    Reach,
    Resolve,
    Sender,
    Sent,
    _Watch,
    system_resolve,
)
from control_plane.billing.webhooks import new_secret, verify
from control_plane.domain.delivery import Delivery
from control_plane.errors import BadInput, Refused
from tests.support.hooks import (
    HOST,
    LOOPBACK,
    Authority,
    Receiver,
    Reply,
    Request,
    accepts,
    always,
    leads_to,
    new_authority,
    receiver,
    receivers,
)

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
OTHER = "other.example.com"
SECRETS = tuple(new_secret(bytes([number]) * 32) for number in range(2))
BODY = b'{"type":"invoice.paid","data":{"amount_minor":1000,"name":"\xc3\xa4"}}'
PUBLIC_ADDRESS = "93.184.215.14"

Receive = Callable[..., Receiver]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def receive(authority: Authority, tmp_path: Path) -> Iterator[Receive]:
    with receivers(authority, tmp_path) as start:
        yield start


def reach(*ports: int, loopback: bool = True, part_s: float = 10.0, whole_s: float = 15.0) -> Reach:
    return Reach(ports=frozenset(ports), allow_loopback=loopback, part_s=part_s, whole_s=whole_s)


def sender(
    authority: Authority,
    to: Receiver,
    resolve: Resolve | None = None,
    *,
    part_s: float = 10.0,
    whole_s: float = 15.0,
) -> Sender:
    waits = reach(to.port, part_s=part_s, whole_s=whole_s)
    return Sender(resolve or leads_to([LOOPBACK]), waits, authority.trusting)


def parcel(url: str, secrets: tuple[SecretStr, ...] = SECRETS, name: str = "msg_1") -> Parcel:
    begun = Delivery(
        id="d_1",
        tenant="acme",
        endpoint="we_1",
        message=name,
        state="sending",
        attempts=1,
        created_at=NOW,
        changed_at=NOW,
        deadline_at=NOW + timedelta(minutes=1),
    )
    return Parcel(delivery=begun, url=url, secrets=secrets, body=BODY)


# what is sent ----------------------------------------------------------------------------------


def test_what_arrives_verifies_on_its_raw_bytes_with_either_secret(
    receive: Receive, authority: Authority
) -> None:
    to = receive()
    sent = sender(authority, to).send(parcel(to.url(path="/hooks/1?of=paybill")), NOW)
    assert sent == Sent(Answer(status=204))
    (request,) = to.requests
    assert (request.method, request.path) == ("POST", "/hooks/1?of=paybill")
    assert request.body == BODY
    for secret in SECRETS:
        verified = verify([secret], request.headers, request.body, NOW)
        assert (verified.id, verified.sent_at) == ("msg_1", NOW)
    with pytest.raises(Refused):
        verify([new_secret(b"x" * 32)], request.headers, request.body, NOW)
    with pytest.raises(Refused):
        verify(SECRETS, request.headers, request.body + b" ", NOW)
    assert request.headers["host"] == f"{HOST}:{to.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == USER_AGENT
    assert set(request.headers) == {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }


@pytest.mark.parametrize("status", [200, 204, 299, 400, 404, 410, 413, 429, 500, 503])
def test_the_status_that_comes_back_is_the_answer(
    receive: Receive, authority: Authority, status: int
) -> None:
    to = receive(always(Reply(status)))
    assert sender(authority, to).send(parcel(to.url()), NOW) == Sent(Answer(status=status))


@pytest.mark.parametrize(
    ("given", "expected"),
    [("120", 120), (" 7 ", 7), ("-1", 0), ("1.5", 0), ("9" * 10, 0), ("tomorrow", 0), ("", 0)],
)
def test_a_receiver_says_in_seconds_when_to_come_back(
    receive: Receive, authority: Authority, given: str, expected: int
) -> None:
    to = receive(always(Reply(503, {"Retry-After": given})))
    sent = sender(authority, to).send(parcel(to.url()), NOW)
    assert sent.answer == Answer(status=503, retry_after_s=expected)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(
    receive: Receive, authority: Authority, status: int
) -> None:
    elsewhere = receive(accepts, OTHER)
    to = receive(always(Reply(status, {"Location": elsewhere.url(OTHER)})))
    made = Sender(leads_to([LOOPBACK]), reach(to.port, elsewhere.port), authority.trusting)
    assert made.send(parcel(to.url()), NOW).answer.status == status
    assert (len(to.requests), elsewhere.connections) == (1, [])


def test_the_answers_body_is_not_read_however_long_it_is(
    receive: Receive, authority: Authority
) -> None:
    to = receive(always(Reply(200, {"Content-Length": str(10**12)}, b"x" * 2**20)))
    assert sender(authority, to).send(parcel(to.url()), NOW).answer.status == 200


def test_nothing_of_the_environment_changes_the_way(
    receive: Receive, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    to = receive()
    with receiver() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{LOOPBACK}:{proxy.port}")
        (tmp_path / ".netrc").write_text(f"machine {LOOPBACK} login ann password planted\n")
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        (tmp_path / "planted.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "planted.pem"))
        assert sender(authority, to).send(parcel(to.url()), NOW).answer.status == 204
        assert proxy.connections == []
        planted = Sender(leads_to([LOOPBACK]), reach(to.port))
        assert planted.send(parcel(to.url()), NOW) == Sent(Answer(), "unreachable")
    assert "authorization" not in to.requests[0].headers
    assert planted._tls.keylog_filename is None


# who answers -----------------------------------------------------------------------------------


def test_a_server_that_cannot_prove_the_name_is_told_nothing(
    receive: Receive, authority: Authority
) -> None:
    for names in ((OTHER,), (LOOPBACK,)):
        to = receive(accepts, *names)
        sent = sender(authority, to).send(parcel(to.url()), NOW)
        assert sent == Sent(Answer(), "unreachable")
        assert (to.requests, len(to.connections)) == ([], 1)


def test_a_server_that_nobody_vouches_for_is_told_nothing(
    receive: Receive, authority: Authority
) -> None:
    to = receive()
    stranger = Sender(leads_to([LOOPBACK]), reach(to.port))
    assert stranger.send(parcel(to.url()), NOW) == Sent(Answer(), "unreachable")
    another = Sender(leads_to([LOOPBACK]), reach(to.port), new_authority().trusting)
    assert another.send(parcel(to.url()), NOW) == Sent(Answer(), "unreachable")
    assert to.requests == []


def test_a_server_without_tls_is_told_nothing(authority: Authority) -> None:
    with receiver() as to:
        sent = sender(authority, to, whole_s=2.0).send(parcel(to.url()), NOW)
    assert sent.answer == Answer()
    assert to.requests == []


def test_of_two_names_at_one_address_each_proves_its_own(
    receive: Receive, authority: Authority
) -> None:
    """A connection that stands for one name is never used for another."""
    to = receive(accepts, HOST)
    made = sender(authority, to)
    assert made.send(parcel(to.url(HOST)), NOW).answer.status == 204
    assert made.send(parcel(to.url(OTHER)), NOW) == Sent(Answer(), "unreachable")
    assert len(to.requests) == 1


# where it goes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers",
    [
        [LOOPBACK],
        ["::1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::ffff:10.0.0.1"],
        ["fe80::1%eth0"],
        [PUBLIC_ADDRESS, "10.0.0.1"],
        [PUBLIC_ADDRESS, LOOPBACK],
        ["not an address"],
    ],
)
def test_a_name_that_leads_inside_is_refused_and_nothing_is_connected_to(
    receive: Receive, authority: Authority, answers: list[str]
) -> None:
    to = receive()
    made = Sender(leads_to(answers), reach(to.port, loopback=False), authority.trusting)
    assert made.send(parcel(to.url()), NOW) == Sent(Answer(), "address_not_public")
    assert to.connections == []


def test_what_loopback_is_allowed_for_is_loopback_alone(
    receive: Receive, authority: Authority
) -> None:
    to = receive()
    for answers in (["10.0.0.1"], [LOOPBACK, "10.0.0.1"], [LOOPBACK, PUBLIC_ADDRESS]):
        made = sender(authority, to, leads_to(answers))
        assert made.send(parcel(to.url()), NOW) == Sent(Answer(), "address_not_public")
    assert to.connections == []
    assert not Reach().allow_loopback


def test_a_name_that_leads_elsewhere_at_the_next_question_is_asked_once_an_attempt(
    receive: Receive, authority: Authority
) -> None:
    """What was checked is what is connected to: a second answer has no effect within an attempt."""
    to = receive()
    asked: list[tuple[str, int]] = []
    answers = leads_to([LOOPBACK], ["10.0.0.1"])

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return answers(host, port)

    made = sender(authority, to, resolve)
    assert made.send(parcel(to.url()), NOW).answer.status == 204
    assert asked == [(HOST, to.port)]
    # The next attempt asks anew, and does not go where the name leads by then.
    assert made.send(parcel(to.url()), NOW) == Sent(Answer(), "address_not_public")
    assert (len(asked), len(to.connections)) == (2, 1)


def test_an_endpoint_that_was_public_when_it_was_entered_and_leads_inside_now_is_refused(
    receive: Receive, authority: Authority
) -> None:
    to = receive()
    resolve = leads_to([PUBLIC_ADDRESS], [LOOPBACK])
    assert resolve(HOST, to.port) == [PUBLIC_ADDRESS]  # whoever asks first, as a form would
    made = Sender(resolve, reach(to.port, loopback=False), authority.trusting)
    assert made.send(parcel(to.url()), NOW) == Sent(Answer(), "address_not_public")
    assert to.connections == []


def test_an_operators_own_networks_are_refused_as_well(authority: Authority) -> None:
    own: tuple[Network, ...] = (ip_network("93.184.0.0/16"),)
    made = Sender(leads_to([PUBLIC_ADDRESS]), Reach(refused=own), authority.trusting)
    sent = made.send(parcel(f"https://{HOST}/"), NOW)
    assert sent == Sent(Answer(), "address_not_public")
    sent = made.send(parcel(f"https://{PUBLIC_ADDRESS}/"), NOW)
    assert sent == Sent(Answer(), "address_not_public")


def test_of_several_addresses_the_next_is_tried_while_nothing_was_sent(
    receive: Receive, authority: Authority
) -> None:
    to = receive()
    made = sender(authority, to, leads_to(["127.0.0.2", "::1", LOOPBACK]))
    assert made.send(parcel(to.url()), NOW).answer.status == 204
    assert len(to.requests) == 1
    made = sender(authority, to, leads_to(["127.0.0.2", "127.0.0.3", "127.0.0.4", LOOPBACK]))
    assert made.send(parcel(to.url()), NOW) == Sent(Answer(), "unreachable")


def test_a_name_without_an_address_is_no_answer(authority: Authority) -> None:
    def fails(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    for resolve in (fails, leads_to([])):
        made = Sender(resolve, Reach(), authority.trusting)
        assert made.send(parcel(f"https://{HOST}/"), NOW) == Sent(Answer(), "unresolved")


@pytest.mark.parametrize("url", ["http://a.example.com/", "https://a.example.com:22/", "x", ""])
def test_a_url_that_was_altered_is_not_used(authority: Authority, url: str) -> None:
    made = Sender(leads_to([PUBLIC_ADDRESS]), Reach(), authority.trusting)
    assert made.send(parcel(url), NOW) == Sent(Answer(), "bad_url")


def test_a_malformed_secret_is_our_own_fault(authority: Authority) -> None:
    made = Sender(leads_to([PUBLIC_ADDRESS]), Reach(), authority.trusting)
    with pytest.raises(BadInput) as told:
        made.send(parcel(f"https://{HOST}/", (SecretStr("whsec_x"),)), NOW)
    assert told.value.field == "secret"


def test_this_machines_resolver_gives_plain_addresses() -> None:
    assert set(system_resolve("localhost", 443)) <= {LOOPBACK, "::1"}
    assert system_resolve(PUBLIC_ADDRESS, 443) == [PUBLIC_ADDRESS]


@pytest.mark.parametrize("given", [{"whole_s": 31.0}, {"part_s": 0.0}, {"loopback": True}])
def test_a_sender_has_bounds(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Reach.model_validate(given)


# how long it takes -----------------------------------------------------------------------------


def test_a_receiver_that_does_not_answer_is_left(receive: Receive, authority: Authority) -> None:
    to = receive(always(Reply(silent=True)))
    began = time.monotonic()
    sent = sender(authority, to, part_s=0.3).send(parcel(to.url()), NOW)
    assert sent == Sent(Answer(), "timeout")
    assert time.monotonic() - began < 5


def test_a_receiver_that_drips_is_left_when_the_whole_takes_too_long(
    receive: Receive, authority: Authority
) -> None:
    """Each of its bytes comes in time, and all of them would take minutes."""
    to = receive(always(Reply(200, {"X-Long": "x" * 5000}, drip_s=0.05)))
    began = time.monotonic()
    sent = sender(authority, to, part_s=5.0, whole_s=0.6).send(parcel(to.url()), NOW)
    assert sent == Sent(Answer(), "timeout")
    assert 0.5 < time.monotonic() - began < 5


def test_a_receiver_that_never_finishes_its_handshake_is_left(authority: Authority) -> None:
    with receiver(always(Reply(silent=True))) as to:
        settings = Reach(
            ports=frozenset({to.port}), allow_loopback=True, connect_s=0.3, part_s=5.0, whole_s=5.0
        )
        made = Sender(leads_to([LOOPBACK]), settings, authority.trusting)
        began = time.monotonic()
        sent = made.send(parcel(to.url()), NOW)
    assert sent.answer == Answer()
    assert time.monotonic() - began < 5


def test_a_receiver_that_hangs_up_is_no_answer(authority: Authority, receive: Receive) -> None:
    def breaks(_: object) -> Reply:
        raise ConnectionResetError

    to = receive(breaks)
    assert sender(authority, to).send(parcel(to.url()), NOW) == Sent(Answer(), "unreachable")


def test_the_attempts_of_a_batch_are_made_side_by_side_and_told_in_order(
    receive: Receive, authority: Authority
) -> None:
    def third_is_silent(request: Request) -> Reply:
        return Reply(silent=request.headers["webhook-id"] == "msg_3")

    to = receive(third_is_silent)
    made = sender(authority, to, part_s=0.5)
    parcels = [parcel(to.url(), name=f"msg_{number}") for number in range(12)]
    sent = made.send_all(parcels, lambda: NOW)
    assert [one.fault for one in sent] == [None] * 3 + ["timeout"] + [None] * 8
    assert made.send_all([], lambda: NOW) == []


def test_a_connection_that_leads_anywhere_else_is_ended_before_a_word_is_said() -> None:
    ours, theirs = socket.create_server((LOOPBACK, 0)), socket.socket()
    with ours, theirs, _Watch(5.0) as watch:
        theirs.connect(ours.getsockname())

        class Stream:
            def get_extra_info(self, _: str) -> socket.socket:
                return theirs

        opened = {"return_value": Stream()}
        watch.see(ip_address(LOOPBACK), "connection.connect_tcp.complete", opened)
        with pytest.raises(httpx2.ConnectError):
            watch.see(ip_address("127.0.0.2"), "connection.connect_tcp.complete", opened)


def test_a_trusting_context_verifies_names() -> None:
    made = Sender(leads_to([PUBLIC_ADDRESS]))
    assert made._tls.check_hostname
    assert made._tls.verify_mode == ssl.CERT_REQUIRED
