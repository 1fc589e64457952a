"""Signing and verifying a webhook: what is signed, what is refused, and that no secret is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from control_plane.billing.webhooks import (
    ID_HEADER,
    SECRETS_MAX,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    TOLERANCE,
    VerifiedWebhook,
    new_secret,
    sign,
    verify,
)
from control_plane.errors import BadInput, Refused

NOW = datetime(2026, 3, 20, 9, 30, 7, tzinfo=UTC)
STAMP = "1773999007"
SECOND = timedelta(seconds=1)
KEYS = [bytes(range(start, start + length)) for start, length in ((0, 24), (40, 32), (90, 64))]
SECRETS = [new_secret(key) for key in KEYS]
BODY = b'{"type":"invoice.paid","data":{"amount_minor":1000}}'
HEADERS = sign(SECRETS[:1], "msg_1", NOW, BODY)
TRUE = HEADERS[SIGNATURE_HEADER]

bodies = st.binary(max_size=200)
ids = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="."),
    min_size=1,
    max_size=40,
)
keys = st.binary(min_size=24, max_size=64)


def by_hand(key: bytes, id: str, stamp: str, body: bytes) -> str:
    """The signature again, by the standard's words and no code of ours."""
    content = b".".join([id.encode(), stamp.encode(), body])
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def refusal(
    headers: Mapping[str, str],
    body: bytes = BODY,
    now: datetime = NOW,
    secrets: Sequence[SecretStr] = SECRETS[:1],
) -> str:
    with pytest.raises(Refused) as caught:
        verify(secrets, headers, body, now)
    told = "".join(traceback.format_exception(caught.value))
    for secret in secrets:
        assert secret.get_secret_value() not in told
    return caught.value.code


def test_the_headers_are_those_of_the_standard() -> None:
    assert sign(SECRETS[:2], "msg_1", NOW, BODY) == {
        "webhook-id": "msg_1",
        "webhook-timestamp": STAMP,
        "webhook-signature": " ".join(by_hand(key, "msg_1", STAMP, BODY) for key in KEYS[:2]),
    }


def test_what_others_sign_by_the_standard_is_verified_and_signed_alike() -> None:
    # The example that implementations of Standard Webhooks share.
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1_614_265_330, UTC)
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body = b'{"test": 2432232314}'
    assert sign([secret], headers["webhook-id"], at, body) == headers
    assert verify([secret], headers, body, at).id == headers["webhook-id"]


@settings(max_examples=60, deadline=None)
@given(key=keys, id=ids, body=bodies)
def test_a_signature_is_the_hmac_of_id_time_and_raw_body(key: bytes, id: str, body: bytes) -> None:
    headers = sign([new_secret(key)], id, NOW, body)
    assert headers[SIGNATURE_HEADER] == by_hand(key, id, STAMP, body)
    found = verify([new_secret(key)], headers, body, NOW)
    assert found == VerifiedWebhook(id=id, sent_at=NOW)


@settings(max_examples=150, deadline=None)
@given(
    id=ids,
    body=st.binary(min_size=1, max_size=120),
    part=st.sampled_from(["id", "time", "body"]),
    at=st.integers(min_value=0, max_value=10_000),
    bit=st.integers(min_value=0, max_value=7),
)
def test_any_flipped_bit_of_id_time_or_body_is_refused(
    id: str, body: bytes, part: str, at: int, bit: int
) -> None:
    headers = sign(SECRETS[:1], id, NOW, body)
    raw = {"id": id.encode(), "time": headers[TIMESTAMP_HEADER].encode(), "body": body}[part]
    where = at % len(raw)
    flipped = raw[:where] + bytes([raw[where] ^ (1 << bit)]) + raw[where + 1 :]
    if part == "body":
        assert refusal(headers, flipped) == "webhook_signature"
        return
    name = ID_HEADER if part == "id" else TIMESTAMP_HEADER
    code = refusal({**headers, name: flipped.decode("latin-1")}, body)
    assert code in {"webhook_signature", "webhook_headers", "webhook_time"}


@settings(max_examples=60, deadline=None)
@given(body=bodies, other=bodies)
def test_another_body_is_refused(body: bytes, other: bytes) -> None:
    assume(body != other)
    assert refusal(sign(SECRETS[:1], "msg_1", NOW, body), other) == "webhook_signature"


@settings(max_examples=60, deadline=None)
@given(signing=st.sets(st.integers(0, 2), min_size=1), held=st.sets(st.integers(0, 2), min_size=1))
def test_while_secrets_rotate_any_one_in_common_is_enough(
    signing: set[int], held: set[int]
) -> None:
    headers = sign([SECRETS[one] for one in sorted(signing)], "msg_1", NOW, BODY)
    ours = [SECRETS[one] for one in sorted(held)]
    if signing & held:
        assert verify(ours, headers, BODY, NOW).id == "msg_1"
    else:
        assert refusal(headers, secrets=ours) == "webhook_signature"


@pytest.mark.parametrize("after_s", [-300, -299, 0, 299, 300])
def test_a_message_is_taken_within_five_minutes(after_s: int) -> None:
    assert verify(SECRETS[:1], HEADERS, BODY, NOW + after_s * SECOND).sent_at == NOW


@pytest.mark.parametrize(
    "apart", [TOLERANCE + timedelta(microseconds=1), TOLERANCE + SECOND, timedelta(days=900)]
)
def test_a_message_from_before_or_ahead_is_refused_though_its_signature_is_true(
    apart: timedelta,
) -> None:
    assert refusal(HEADERS, now=NOW + apart) == "webhook_time"
    assert refusal(HEADERS, now=NOW - apart) == "webhook_time"


def test_the_zone_of_a_clock_makes_no_difference() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert sign(SECRETS[:1], "msg_1", elsewhere, BODY) == HEADERS
    assert verify(SECRETS[:1], HEADERS, BODY, elsewhere).sent_at == NOW


def test_a_naive_clock_is_no_instant() -> None:
    with pytest.raises(TypeError, match="naive"):
        verify(SECRETS[:1], HEADERS, BODY, NOW.replace(tzinfo=None))
    with pytest.raises(TypeError, match="naive"):
        sign(SECRETS[:1], "msg_1", NOW.replace(tzinfo=None), BODY)


def test_a_part_of_a_second_is_cut_off() -> None:
    assert sign(SECRETS[:1], "msg_1", NOW + timedelta(microseconds=999_999), BODY) == HEADERS


def test_header_names_are_compared_without_regard_to_case() -> None:
    shouted = {name.upper(): value for name, value in HEADERS.items()}
    assert verify(SECRETS[:1], shouted, BODY, NOW).id == "msg_1"


@pytest.mark.parametrize("name", [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER])
def test_a_header_that_is_missing_empty_or_stands_twice_is_refused_by_name(name: str) -> None:
    without = {key: value for key, value in HEADERS.items() if key != name}
    for headers in (without, {**HEADERS, name: ""}, {**HEADERS, name.upper(): HEADERS[name]}):
        with pytest.raises(Refused) as caught:
            verify(SECRETS[:1], headers, BODY, NOW)
        assert (caught.value.code, caught.value.fact) == ("webhook_headers", name)


@pytest.mark.parametrize(
    "stamp",
    [f"0{STAMP}", f"+{STAMP}", f"{STAMP}.0", f" {STAMP}", f"{STAMP}\n", "-1", "\u0663", "9" * 11],
)
def test_a_time_that_is_no_plain_number_of_seconds_is_refused(stamp: str) -> None:
    assert refusal({**HEADERS, TIMESTAMP_HEADER: stamp}) == "webhook_headers"


def test_the_end_of_an_id_cannot_be_moved_into_the_time_or_the_body() -> None:
    # Both would be signed as the same bytes, if an id could hold a full stop.
    moved = {**HEADERS, ID_HEADER: f"msg_1.{STAMP}", TIMESTAMP_HEADER: "5"}
    assert refusal(moved) == "webhook_headers"
    with pytest.raises(BadInput, match="full stop"):
        sign(SECRETS[:1], "msg.1", NOW, BODY)


@pytest.mark.parametrize("id", ["", "a b", "a\n", "ä", "a" * 256])
def test_an_id_is_printable_and_bounded(id: str) -> None:
    with pytest.raises(BadInput) as caught:
        sign(SECRETS[:1], id, NOW, BODY)
    assert caught.value.field == "id"
    assert refusal({**HEADERS, ID_HEADER: id}) == "webhook_headers"


def test_signatures_of_other_versions_are_passed_over() -> None:
    for given_text in (f"v1a,AAAA {TRUE}", f"{TRUE} v2,zzz"):
        headers = {**HEADERS, SIGNATURE_HEADER: given_text}
        assert verify(SECRETS[:1], headers, BODY, NOW).id == "msg_1"


@pytest.mark.parametrize(
    "spelt",
    [
        TRUE.removeprefix("v1,"),
        TRUE.replace("v1,", "v1a,"),
        TRUE.replace("v1,", "V1,"),
        TRUE.rstrip("="),
        # The same bytes in base64 whose unused bits are set.
        TRUE[:-2] + chr(ord(TRUE[-2]) + 1) + TRUE[-1],
        f"{TRUE},{TRUE}",
        TRUE.replace("v1,", "v1, "),
        "v1,",
    ],
)
def test_a_signature_in_any_other_spelling_is_none(spelt: str) -> None:
    assert refusal({**HEADERS, SIGNATURE_HEADER: spelt}) == "webhook_signature"


@pytest.mark.parametrize("text", ["v1," + "A" * 5_000, "v1,ä", "v1,\ud800", "v1,AA\r\nx: y"])
def test_a_signature_header_beyond_measure_is_malformed(text: str) -> None:
    assert refusal({**HEADERS, SIGNATURE_HEADER: text}) == "webhook_headers"


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_is_made_of_the_bytes_that_are_given(length: int) -> None:
    random = hashlib.shake_256(b"seed").digest(length)
    text = new_secret(random).get_secret_value()
    assert text.startswith("whsec_")
    assert base64.b64decode(text.removeprefix("whsec_")) == random


@pytest.mark.parametrize("length", [0, 23, 65])
def test_a_secret_of_another_length_is_not_made(length: int) -> None:
    with pytest.raises(BadInput, match="random: must be 24 to 64 bytes"):
        new_secret(bytes(length))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        base64.b64encode(KEYS[0]).decode(),
        "whsk_" + base64.b64encode(KEYS[0]).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_" + base64.b64encode(bytes(25)).decode().rstrip("="),
        "whsec_" + base64.b64encode(bytes(25)).decode().replace("A==", "B=="),
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(),
        "whsec_ä" + base64.b64encode(KEYS[0]).decode(),
        "whsec_ " + base64.b64encode(KEYS[0]).decode(),
    ],
)
def test_a_malformed_secret_is_bad_input_and_is_not_repeated(text: str) -> None:
    for attempt in (
        lambda: sign([SECRETS[0], SecretStr(text)], "msg_1", NOW, BODY),
        lambda: verify([SecretStr(text)], HEADERS, BODY, NOW),
    ):
        with pytest.raises(BadInput, match="secret: must be whsec_ and base64") as caught:
            attempt()
        told = "".join(traceback.format_exception(caught.value))
        assert len(text) < len("whsec_A") or text not in told


def test_an_endpoint_has_one_secret_at_least_and_a_few_at_most() -> None:
    for secrets in ([], [SECRETS[0]] * (SECRETS_MAX + 1)):
        with pytest.raises(BadInput, match="secrets: must be 1 to 8"):
            sign(secrets, "msg_1", NOW, BODY)
        with pytest.raises(BadInput, match="secrets: must be 1 to 8"):
            verify(secrets, HEADERS, BODY, NOW)


def test_a_secret_does_not_show_itself() -> None:
    assert SECRETS[0].get_secret_value() not in f"{SECRETS[0]} {SECRETS[0]!r} {SECRETS}"


def test_every_signature_is_compared_with_every_secret_whichever_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[bool] = []
    real = hmac.compare_digest

    def counting(left: bytes, right: bytes) -> bool:
        compared.append(real(left, right))
        return compared[-1]

    headers = sign(SECRETS, "msg_1", NOW, BODY)
    monkeypatch.setattr("control_plane.billing.webhooks.hmac.compare_digest", counting)
    verify(SECRETS, headers, BODY, NOW)
    assert len(compared) == len(SECRETS) ** 2
    assert compared.count(True) == len(SECRETS)
