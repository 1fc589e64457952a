"""A licence holds for whom, when and as it was signed, and for nothing else."""

from __future__ import annotations

import base64
import json
import re
import textwrap
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from quopri import decodestring, encodestring

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.billing.licence import (
    ENTITLEMENTS_MAX,
    LICENCE_BYTES_MAX,
    TEXT_CHARS_MAX,
    EntitlementValue,
    Licence,
    LicenceTerms,
    issue,
    verify,
)
from control_plane.domain.canonical import canonical
from control_plane.domain.money import MINOR_MAX
from control_plane.errors import BadInput, Refused
from control_plane.secrets import signer

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
OLD, NEW = b"\x01" * 32, b"\x02" * 32
LIMITS: Mapping[str, EntitlementValue] = {"sso": True, "projects": 50, "support": "gold"}


def terms(
    entitlements: Mapping[str, EntitlementValue] = LIMITS,
    not_before: datetime = START,
    expires_at: datetime = END,
    tenant: str = "acme",
) -> LicenceTerms:
    return LicenceTerms(
        tenant=tenant,
        plan="team",
        tier="standard",
        entitlements=entitlements,
        seats=25,
        not_before=not_before,
        expires_at=expires_at,
    )


def issued(given_terms: LicenceTerms | None = None, seed: bytes = OLD) -> str:
    return issue(given_terms or terms(), licence_id="lic_1", issued_at=START, seed=seed)


def keys(*seeds: bytes) -> dict[str, bytes]:
    publics = [signer.public_bytes(seed) for seed in seeds]
    return {signer.key_id(public): public for public in publics}


def opened(text: str, now: datetime = NOW) -> Licence:
    return verify(text, keys(OLD), now, tenant="acme")


def refusal(
    text: str,
    *,
    believed: Mapping[str, bytes] | None = None,
    now: datetime = NOW,
    tenant: str = "acme",
) -> str:
    with pytest.raises(Refused) as told:
        verify(text, keys(OLD) if believed is None else believed, now, tenant=tenant)
    return told.value.code


def raw_of(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def armoured(raw: bytes) -> str:
    body = "\n".join(textwrap.wrap(base64.b64encode(raw).decode(), 64))
    return f"-----BEGIN PAYBILL LICENCE-----\n{body}\n-----END PAYBILL LICENCE-----\n"


def signed(message: bytes, seed: bytes = OLD) -> str:
    """The text of any message that a key of ours has signed."""
    key = bytes.fromhex(signer.key_id(signer.public_bytes(seed)))
    return armoured(key + signer.sign(seed, message) + message)


# as a tenant's own software verifies it --------------------------------------------------------


def check_licence(text: str, public_keys: dict[str, bytes], tenant: str, now: datetime) -> object:
    """What a tenant's own software does: base64, JSON and Ed25519, with nothing of ours."""
    inner = text.split("-----BEGIN PAYBILL LICENCE-----")[1]
    inner = inner.split("-----END PAYBILL LICENCE-----")[0]
    raw = base64.b64decode(re.sub(r"[\s>]+", "", inner), validate=True)
    key_id, signature, message = raw[:8].hex(), raw[8:72], raw[72:]
    Ed25519PublicKey.from_public_bytes(public_keys[key_id]).verify(signature, message)
    name, version, fields = json.loads(message)
    if (name, version, fields["key_id"]) != ("paybill licence", 1, key_id):
        raise ValueError("this is no licence")
    if fields["tenant"] != tenant:
        raise ValueError("the licence is another tenant's")
    begin, end = (datetime.fromisoformat(fields[one]) for one in ("not_before", "expires_at"))
    if not begin <= now < end:
        raise ValueError("the licence does not hold now")
    return fields


def test_a_tenants_own_software_verifies_it_in_fifteen_lines() -> None:
    text = issued()
    assert check_licence(text, keys(OLD), "acme", NOW) == {
        "id": "lic_1",
        "key_id": signer.key_id(signer.public_bytes(OLD)),
        "tenant": "acme",
        "plan": "team",
        "tier": "standard",
        "entitlements": {"sso": True, "projects": 50, "support": "gold"},
        "seats": 25,
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "not_before": "2026-01-01T00:00:00.000000Z",
        "expires_at": "2027-01-01T00:00:00.000000Z",
    }


def test_a_tenants_own_software_refuses_what_does_not_hold() -> None:
    text = issued()
    with pytest.raises(InvalidSignature):
        check_licence(armoured(raw_of(text)[:-1] + b" "), keys(OLD), "acme", NOW)
    with pytest.raises(KeyError):
        check_licence(text, keys(NEW), "acme", NOW)
    for tenant, now in (("globex", NOW), ("acme", START - TICK), ("acme", END)):
        with pytest.raises(ValueError, match="licence"):
            check_licence(text, keys(OLD), tenant, now)


# what is issued --------------------------------------------------------------------------------


def test_what_was_issued_is_what_is_verified() -> None:
    licence = opened(issued())
    assert {name: getattr(licence, name) for name in LicenceTerms.model_fields} == dict(terms())
    assert (licence.id, licence.issued_at) == ("lic_1", START)


def test_the_same_terms_give_the_same_text_in_whatever_order_and_zone() -> None:
    east = timezone(timedelta(hours=9))
    other = terms(
        {name: LIMITS[name] for name in reversed(list(LIMITS))},
        START.astimezone(east),
        END.astimezone(east),
    )
    assert issued(other) == issued()


def test_no_line_is_longer_than_64_columns_and_all_is_ascii() -> None:
    text = issued(terms({"support": "größer"}))
    assert text.isascii()
    assert max(map(len, text.splitlines())) == 64
    assert opened(text).entitlements == {"support": "größer"}


def test_the_entitlements_of_a_licence_cannot_be_changed() -> None:
    entitlements = opened(issued()).entitlements
    with pytest.raises(TypeError):
        entitlements["projects"] = 51  # type: ignore[index]


NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,63}", fullmatch=True)
VALUES = st.booleans() | st.integers(0, MINOR_MAX) | st.text(min_size=1, max_size=80)


@settings(max_examples=40, deadline=None)
@given(
    entitlements=st.dictionaries(NAMES, VALUES, max_size=8),
    seats=st.integers(0, MINOR_MAX),
    life=st.timedeltas(min_value=TICK, max_value=timedelta(days=4_000)),
)
def test_any_terms_come_back_as_they_were_given(
    entitlements: dict[str, EntitlementValue], seats: int, life: timedelta
) -> None:
    wide = LicenceTerms.model_validate(
        {
            **dict(terms(entitlements)),
            "seats": seats,
            "expires_at": START + life,
        }
    )
    licence = opened(issued(wide), START + life - TICK)
    assert {name: getattr(licence, name) for name in LicenceTerms.model_fields} == dict(wide)
    assert canonical(licence.entitlements) == canonical(entitlements)


@pytest.mark.parametrize(
    "wrong",
    [
        {"not_before": END},
        {"seats": -1},
        {"seats": 1.0},
        {"entitlements": {"sso": -1}},
        {"entitlements": {"sso": 0.5}},
        {"entitlements": {"SSO": True}},
        {"entitlements": {f"e{number}": True for number in range(ENTITLEMENTS_MAX + 1)}},
        {"expires_at": datetime(2027, 1, 1)},  # noqa: DTZ001 - it is the naive one that is refused
        {"tenant": "Acme Corp."},
    ],
)
def test_terms_that_break_a_rule_cannot_be_made(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LicenceTerms.model_validate({**dict(terms()), **wrong})


def test_a_licence_that_nobody_could_verify_is_not_issued() -> None:
    large = {f"e{number}": "ß" * 80 for number in range(ENTITLEMENTS_MAX)}
    with pytest.raises(BadInput) as told:
        issued(terms(large))
    assert told.value.field == "entitlements"
    fitting = dict(list(large.items())[: LICENCE_BYTES_MAX // 180])
    text = issued(terms(fitting))
    assert len(raw_of(text)) > LICENCE_BYTES_MAX * 9 // 10
    assert opened(text).entitlements == fitting


def test_a_seed_that_is_none_signs_nothing() -> None:
    with pytest.raises(signer.SignerError):
        issued(seed=b"short")


# what is refused -------------------------------------------------------------------------------


def test_it_holds_from_its_first_instant_until_just_before_its_last() -> None:
    text = issued()
    assert refusal(text, now=START - TICK) == "licence_not_yet"
    assert opened(text, START) == opened(text, END - TICK)
    assert refusal(text, now=END) == "licence_expired"


def test_it_holds_for_no_other_tenant() -> None:
    assert refusal(issued(), tenant="globex") == "licence_tenant"
    assert refusal(issued(terms(tenant="globex"))) == "licence_tenant"


def test_it_is_refused_by_whoever_does_not_know_the_key() -> None:
    assert refusal(issued(), believed={}) == "licence_unknown_key"
    assert refusal(issued(seed=NEW)) == "licence_unknown_key"


def test_another_key_under_a_known_id_does_not_make_it_hold() -> None:
    text, (key_id,) = issued(), keys(OLD)
    assert refusal(text, believed={key_id: signer.public_bytes(NEW)}) == "licence_signature"
    assert refusal(text, believed={key_id: b""}) == "licence_signature"
    renamed = bytes.fromhex(key_id) + raw_of(issued(seed=NEW))[8:]
    assert refusal(armoured(renamed)) == "licence_signature"


def test_keys_are_rotated_by_their_ids() -> None:
    old, new = issued(), issued(seed=NEW)
    both = keys(OLD, NEW)
    assert (
        verify(old, both, NOW, tenant="acme").key_id != verify(new, both, NOW, tenant="acme").key_id
    )
    assert refusal(old, believed=keys(NEW)) == "licence_unknown_key"
    assert verify(new, keys(NEW), NOW, tenant="acme").tenant == "acme"


def test_no_bit_of_it_can_be_turned() -> None:
    raw = raw_of(issued())
    for position in range(len(raw)):
        turned = bytearray(raw)
        turned[position] ^= 1 << position % 8
        expected = "licence_unknown_key" if position < 8 else "licence_signature"
        assert refusal(armoured(bytes(turned))) == expected


def test_it_cannot_be_cut_anywhere() -> None:
    raw = raw_of(issued())
    codes = {refusal(armoured(raw[:length])) for length in range(len(raw))}
    assert codes == {"licence_malformed", "licence_signature"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a letter",
        "-----BEGIN PAYBILL LICENCE-----\n",
        "-----END PAYBILL LICENCE-----\n-----BEGIN PAYBILL LICENCE-----\n",
        "-----BEGIN PAYBILL LICENCE-----\n-----END PAYBILL LICENCE-----\n",
        issued().replace("LICENCE", "LICENSE"),
        issued() + issued(),
        issued().replace("\n", "\n*", 2),
        issued().replace("\n", "\né", 2),
        issued() + " " * TEXT_CHARS_MAX,
        armoured(raw_of(issued())[:72] + b"a" * (LICENCE_BYTES_MAX + 1)),
    ],
)
def test_a_text_that_is_no_licence_is_refused(text: str) -> None:
    assert refusal(text) == "licence_malformed"


def test_spare_bits_of_the_base64_cannot_vary() -> None:
    raw = next(
        one
        for number in range(3)
        if len(one := raw_of(issued(terms({"support": "x" * (number + 1)})))) % 3 == 1
    )
    text = armoured(raw)
    assert opened(text).tenant == "acme"
    spare = re.sub(r"(.)==", lambda last: chr(ord(last[1]) + 1) + "==", text)
    assert spare != text
    assert base64.b64decode("".join(spare.splitlines()[1:-1])) == raw
    assert refusal(spare) == "licence_malformed"


def fields(**changes: object) -> dict[str, object]:
    reduced = json.loads(canonical(opened(issued())))
    assert isinstance(reduced, dict)
    return {**reduced, **changes}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[" * 10_000,
        canonical(fields()),
        canonical(["paybill approval", 1, fields()]),
        canonical(["paybill licence", 2, fields()]),
        canonical(["paybill licence", True, fields()]),
        canonical(["paybill licence", 1, fields(), 0]),
        canonical(["paybill licence", 1, fields(more=1)]),
        canonical(["paybill licence", 1, fields(seats="25")]),
        canonical(["paybill licence", 1, fields(key_id="0" * 16)]),
        canonical(["paybill licence", 1, fields(expires_at="2026-01-01T00:00:00.000000Z")]),
        canonical(["paybill licence", 1, fields(expires_at="2027-01-01T00:00:00Z")]),
        json.dumps(["paybill licence", 1, fields()]).encode(),
    ],
)
def test_a_signature_for_something_else_is_no_licence(message: bytes) -> None:
    assert refusal(signed(message)) == "licence_malformed"


def test_a_refusal_tells_the_rule_and_never_the_value() -> None:
    with pytest.raises(Refused) as told:
        verify(issued(), keys(OLD), NOW, tenant="globex")
    assert (told.value.rule, told.value.fact) == ("licence.tenant", "tenant")
    assert "acme" not in str(told.value)
    assert "globex" not in str(told.value)


# mail ------------------------------------------------------------------------------------------


CARRIED: dict[str, Callable[[str], str]] = {
    "windows": lambda text: text.replace("\n", "\r\n"),
    "trailing spaces": lambda text: text.replace("\n", "  \n"),
    "one line": lambda text: text.replace("\n", " "),
    "double spaced": lambda text: text.replace("\n", "\n\n"),
    "in a letter": lambda text: f"Dear Ada,\n\nhere it is:\n{text}\n-- \nBilling",
    "quoted": lambda text: "> " + text.replace("\n", "\n> "),
    "quoted twice": lambda text: ">>  " + text.replace("\n", "\n>> "),
    "indented": lambda text: textwrap.indent(text, "\t"),
    "no-break spaces": lambda text: text.replace("\n", "\u00a0\n"),
    "byte order mark": lambda text: "\ufeff" + text,
    "wrapped once more": lambda text: text[:140] + "\n" + text[140:],
    "quoted-printable": lambda text: decodestring(encodestring(text.encode())).decode(),
}


@pytest.mark.parametrize("way", CARRIED)
def test_it_survives_mail_and_copying(way: str) -> None:
    text = CARRIED[way](issued())
    assert opened(text) == opened(issued())
    assert check_licence(text, keys(OLD), "acme", NOW) == fields()
