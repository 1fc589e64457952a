"""Where webhooks go: who is told of what, that secrets lie sealed, and how they are rotated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import select

from control_plane.billing.webhook_endpoints import (
    ENDPOINTS_MAX,
    ROTATION_OVERLAP,
    Endpoint,
    NewEndpoint,
    disable,
    enable,
    find,
    owned,
    receivers,
    register,
    remove,
    rotate,
    secrets_of,
)
from control_plane.billing.webhooks import new_secret
from control_plane.errors import BadInput, NotFound, Refused
from control_plane.ports import Store
from control_plane.secrets.box import BoxError, new_keypair
from control_plane.store.webhook_tables import webhook_endpoint
from tests.support.hooks import hook_store

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
TICK = timedelta(microseconds=1)
PRIVATE, PUBLIC = new_keypair()
FIRST, SECOND, THIRD = (new_secret(bytes([n]) * 32) for n in range(3))
ASKED = NewEndpoint(
    id="we_1", tenant="acme", url="https://hooks.example.com/paybill", kinds=("invoice.*",)
)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with hook_store(str(request.param), tmp_path, request) as opened:
        yield opened


def registered(store: Store, secret: SecretStr = FIRST, **given: Any) -> Endpoint:
    asked = NewEndpoint.model_validate({**dict(ASKED), **given})
    with store.write("acme") as connection:
        return register(connection, PUBLIC, asked, secret, NOW)


def signing(store: Store, at: datetime, private: bytes = PRIVATE) -> list[SecretStr]:
    with store.read() as connection:
        return list(secrets_of(connection, private, "we_1", at))


def rotated(store: Store, secret: SecretStr, at: datetime, **given: Any) -> Endpoint:
    with store.write("acme") as connection:
        return rotate(connection, PUBLIC, "we_1", secret, at, **given)


def told(store: Store, tenant: str, kind: str) -> list[str]:
    with store.read() as connection:
        return [one.id for one in receivers(connection, tenant, kind)]


def test_an_endpoint_is_found_as_it_was_asked_for_and_its_secret_lies_sealed(store: Store) -> None:
    made = registered(store)
    assert made == Endpoint(**dict(ASKED), created_at=NOW)
    with store.read() as connection:
        assert find(connection, "we_1") == made
        assert find(connection, "we_2") is None
        row = connection.execute(select(webhook_endpoint)).one()
    assert FIRST.get_secret_value().encode() not in row.secret
    assert signing(store, NOW) == [FIRST]
    with pytest.raises(BoxError):
        signing(store, NOW, new_keypair()[0])


def test_an_endpoint_is_told_of_its_tenants_kinds_and_the_workspaces_of_all_tenants(
    store: Store,
) -> None:
    registered(store)
    registered(store, id="we_2", kinds=("invoice.paid", "seat.assigned"))
    registered(store, id="we_3", tenant="globex", kinds=("*",))
    registered(store, id="we_4", tenant="", kinds=("*",))
    assert told(store, "acme", "invoice.paid") == ["we_1", "we_2", "we_4"]
    assert told(store, "acme", "invoice.paid.twice") == ["we_1", "we_4"]
    assert told(store, "acme", "invoices.paid") == ["we_4"]
    assert told(store, "acme", "seat.assigned") == ["we_2", "we_4"]
    assert told(store, "globex", "seat.assigned") == ["we_3", "we_4"]
    assert told(store, "initech", "seat.assigned") == ["we_4"]


@pytest.mark.parametrize(
    "given",
    [
        {"kinds": ()},
        {"kinds": ("Invoice",)},
        {"kinds": ("*.paid",)},
        {"kinds": ("invoice*",)},
        {"tenant": "A"},
        {"id": "a.b"},
        {"secret": "whsec_x"},
    ],
)
def test_what_is_asked_for_has_a_form(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewEndpoint.model_validate({**dict(ASKED), **given})


def test_a_url_or_secret_that_could_never_work_is_refused_at_once(store: Store) -> None:
    for url in ("http://hooks.example.com/", "https://localhost/", "https://a.example:22/"):
        with pytest.raises(BadInput) as bad:
            registered(store, url=url)
        assert bad.value.field == "url"
    with pytest.raises(Refused) as refused:
        registered(store, url="https://169.254.169.254/latest")
    assert refused.value.code == "address_not_public"
    with pytest.raises(BadInput) as bad:
        registered(store, SecretStr("whsec_short"))
    assert bad.value.field == "secret"
    with store.read() as connection:
        assert owned(connection, "acme") == []


def test_an_owner_has_so_many_endpoints_and_no_more(store: Store) -> None:
    for number in range(ENDPOINTS_MAX):
        registered(store, id=f"we_{number}")
    with pytest.raises(Refused) as refused:
        registered(store, id="we_x")
    assert refused.value.code == "endpoints_full"
    registered(store, id="we_x", tenant="globex")
    with store.write("acme") as connection:
        remove(connection, "we_0", NOW)
        assert len(owned(connection, "acme")) == ENDPOINTS_MAX - 1
    registered(store, id="we_y")


def test_after_a_rotation_both_secrets_sign_for_a_day_and_then_the_new_one_alone(
    store: Store,
) -> None:
    registered(store)
    at = NOW + timedelta(days=3)
    assert rotated(store, SECOND, at).former_until == at + timedelta(hours=24)
    assert signing(store, at) == [SECOND, FIRST]
    assert signing(store, at + ROTATION_OVERLAP - TICK) == [SECOND, FIRST]
    assert signing(store, at + ROTATION_OVERLAP) == [SECOND]
    with pytest.raises(Refused) as refused:
        rotated(store, THIRD, at + ROTATION_OVERLAP - TICK)
    assert refused.value.code == "rotation_open"
    rotated(store, THIRD, at + ROTATION_OVERLAP)
    assert signing(store, at + ROTATION_OVERLAP) == [THIRD, SECOND]


def test_after_a_leak_a_rotation_without_overlap_forgets_the_secret_before(store: Store) -> None:
    registered(store)
    rotated(store, SECOND, NOW)
    made = rotated(store, THIRD, NOW, overlap=timedelta(0))
    assert made.former_until is None
    assert signing(store, NOW) == [THIRD]
    with store.read() as connection:
        assert connection.execute(select(webhook_endpoint.c.former_secret)).scalars().all() == [
            None
        ]


def test_an_endpoint_that_is_disabled_is_told_of_nothing_until_it_is_enabled(store: Store) -> None:
    registered(store)
    with store.write("acme") as connection:
        made = disable(connection, "we_1", "asked", NOW)
        assert (made.enabled, made.disabled_cause, made.disabled_at) == (False, "asked", NOW)
        # The first cause stands.
        assert disable(connection, "we_1", "gone", NOW + TICK) == made
    assert told(store, "acme", "invoice.paid") == []
    with store.write("acme") as connection:
        assert enable(connection, "we_1").enabled
    assert told(store, "acme", "invoice.paid") == ["we_1"]


def test_an_endpoint_that_was_removed_cannot_be_changed_any_more(store: Store) -> None:
    registered(store)
    rotated(store, SECOND, NOW)
    with store.write("acme") as connection:
        remove(connection, "we_1", NOW)
    assert told(store, "acme", "invoice.paid") == []
    assert signing(store, NOW) == [SECOND]
    with store.write("acme") as connection:
        for change in (
            lambda: enable(connection, "we_1"),
            lambda: disable(connection, "we_1", "asked", NOW),
            lambda: remove(connection, "we_1", NOW),
            lambda: rotate(connection, PUBLIC, "we_1", THIRD, NOW),
        ):
            with pytest.raises(NotFound):
                change()
        with pytest.raises(NotFound):
            secrets_of(connection, PRIVATE, "we_2", NOW)
