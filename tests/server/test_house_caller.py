"""Nobody is the house but the house: no grant, no token, no mapping of an issuer's makes its caller."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from control_plane.audit.recorder import LeafRecorder
from control_plane.domain.approval import may_decide
from control_plane.domain.caller import ROLES, Caller, Grant
from control_plane.domain.canonical import instant
from control_plane.domain.house import BILLING_HOUSE, is_house
from control_plane.errors import BadInput
from control_plane.ports import Store
from control_plane.secrets import box, signer
from server import grants, tokens
from server.clock import SystemClock
from server.dpop import DpopProofs
from server.grants import parse_new_grant
from server.http_auth import Bearers
from server.ids import RandomIds
from server.issuers import Mapping
from server.opening import create_store
from server.tokens import Identify, Unauthenticated, caller_of
from tools.house_tools import HOUSE_TOOLS
from tools.operator_tools import OPERATOR_TOOLS
from tools.registry import TOOLS

SEED = signer.new_seed()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)
NAMES = ("house:billing", "house:main", "House:Billing", "HOUSE:x")
HOUSE = Grant(
    id="house:billing",
    principal="house:billing",
    actor="house:billing",
    actor_kind="service",
    roles=("platform_admin",),
    ceiling=("platform_admin",),
    tenants=("*",),
    issued_at=instant(NOW),
    expires_at=instant(NOW + timedelta(days=1)),
)


class Standing:
    """A clock that stands."""

    def now(self) -> datetime:
        """Always the same instant."""
        return SOON


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store without grants."""
    made = create_store(tmp_path / "store.db")
    yield made
    made.close()


def written(store: Store, grant: Grant) -> None:
    """Put a grant's row past every rule."""
    recorder = LeafRecorder(box.new_keypair()[1], SystemClock(), RandomIds())
    with store.write() as connection:
        grants.keep(connection, grant, recorder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["principal", "actor"])
def test_no_grant_names_the_house(name: str, place: str) -> None:
    given = {"principal": "ann", "roles": "viewer", "tenants": "acme", "ttl": "8h", place: name}
    with pytest.raises(BadInput, match="house"):
        parse_new_grant(**given)


def test_no_grant_has_its_role() -> None:
    with pytest.raises(BadInput, match="roles"):
        parse_new_grant(principal="ann", roles="house", tenants="acme", ttl="8h")
    named = {"roles": ("house", "viewer"), "ceiling": ("house", "viewer")}
    forged = HOUSE.model_copy(update={**named, "actor_kind": "human"})
    assert Caller.of(forged).roles == ("viewer",)
    assert Caller.of(HOUSE.model_copy(update=named)).roles == ()
    assert set(BILLING_HOUSE.roles).isdisjoint(ROLES)


@pytest.mark.parametrize("row", [False, True])
def test_a_token_that_we_signed_for_it_makes_no_caller(store: Store, row: bool) -> None:
    if row:
        written(store, HOUSE)
    token = tokens.sign(SEED, "w1", HOUSE)
    with pytest.raises(Unauthenticated) as refused:
        Identify(store, signer.public_bytes(SEED), "w1").verify(token, SOON)
    assert (refused.value.code, refused.value.told) == ("grant_absent", "token_invalid")


@pytest.mark.parametrize("row", [False, True])
def test_over_http_it_makes_none_either(store: Store, row: bool) -> None:
    if row:
        written(store, HOUSE)
    own = Identify(store, signer.public_bytes(SEED), "w1", "https://paybill.test/mcp")
    bound = tokens.Bound("https://paybill.test/mcp")
    token = tokens.sign(SEED, "w1", HOUSE, bound)
    bearers = Bearers(own, None, DpopProofs("https://paybill.test/mcp"), Standing())

    async def asked() -> Caller:
        proven = await bearers.proven({b"authorization": f"Bearer {token}".encode()}, "POST")
        return proven.caller(SOON)

    with pytest.raises(Unauthenticated) as refused:
        anyio.run(asked)
    assert refused.value.code == "grant_absent"


def test_an_issuers_mapping_does_not_name_it(store: Store) -> None:
    with pytest.raises(ValidationError):
        Mapping(claim="sub", equals="u-1", grant="house:billing")
    # Nor by a row of another name that says it is the house.
    forged = HOUSE.model_copy(update={"id": "a" * 32})
    written(store, forged)
    with pytest.raises(Unauthenticated):
        caller_of(store, "a" * 32, SOON)


@pytest.mark.parametrize("changed", [{"principal": "ann"}, {"actor": "bot"}])
def test_a_row_that_is_the_house_in_part_makes_no_caller(
    store: Store, changed: dict[str, str]
) -> None:
    written(store, HOUSE.model_copy(update={"id": "b" * 32, **changed}))
    with pytest.raises(Unauthenticated):
        caller_of(store, "b" * 32, SOON)


@pytest.mark.parametrize("rule", ["two_people", "own_hand"])
def test_the_house_decides_no_approval_of_anybodys(rule: str) -> None:
    for requester in ("ann", "house:billing"):
        told = may_decide(rule, requester, "house:billing", "house")  # type: ignore[arg-type]
        assert told is not None
        assert told.code == "not_human"


@pytest.mark.parametrize("name", [*NAMES, " house:billing", "\uff48ouse:billing"])
def test_what_is_spelt_like_it_is_it(name: str) -> None:
    assert is_house(name)


@pytest.mark.parametrize("name", ["household", "ann", "my-house:1"])
def test_what_only_resembles_it_is_not(name: str) -> None:
    assert not is_house(name)


def test_its_tools_are_published_to_nobody() -> None:
    assert set(HOUSE_TOOLS).isdisjoint({*TOOLS, *OPERATOR_TOOLS})
