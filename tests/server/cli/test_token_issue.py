"""`paybill token issue --service`: a token for a service of the SaaS's own, listed, used for what it names, and revoked."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_plane.domain.caller import Caller
from server import keys
from server.tokens import Identify, Unauthenticated
from tests.server.cli.conftest import Run
from tests.support.house import House
from tests.support.leaves import opened_leaves

SERVER = "https://paybill.test/mcp"
SERVICE = ("token", "issue", "--service", "shop", "--tenants", "acme,globex")
PERSON = ("token", "issue", "--principal", "alice", "--roles", "viewer", "--tenants", "acme")
ASKED = (*SERVICE, "--operations", "usage_write,entitlement_read", "--audience", SERVER)


def caller(house: House, token: str) -> Caller:
    """Who the token makes over HTTP now."""
    public = keys.load_public(house.workspace.keys).issuer_bytes
    with house.store() as store:
        identify = Identify(store, public, house.workspace.id, SERVER)
        return identify.caller(identify.claims(token), datetime.now(UTC))


def test_a_services_token_is_issued_listed_recorded_and_revoked(
    run: Run, ruled: House, tmp_path: Path
) -> None:
    out = tmp_path / "shop.token"
    made = run(*ASKED, "--ttl", "90d", "--out", out)
    assert made.exit_code == 0, made.output
    (named,) = re.findall(r"grant (\w+): service:shop by service:shop", made.stderr)
    token = out.read_text().strip()
    found = caller(ruled, token)
    assert (found.actor_kind, found.tenants) == ("service", ("acme", "globex"))
    assert found.roles == ("service_usage_write", "service_entitlement_read")
    (row,) = [line for line in run("token", "list").stdout.splitlines() if named in line]
    for said in ("service:shop (service)", "service_usage_write", "acme globex", "in force"):
        assert said in row
    *_, leaf = (one for one in opened_leaves(ruled) if one.leaf.kind == "grant.issued")
    assert leaf.payload is not None
    assert (leaf.payload["id"], leaf.payload["actor_kind"]) == (named, "service")
    assert token not in repr(leaf.payload)
    assert run("token", "revoke", named).exit_code == 0
    with pytest.raises(Unauthenticated) as refused:
        caller(ruled, token)
    assert refused.value.code == "grant_revoked"


def test_a_grant_alone_is_made_for_an_outside_issuer(run: Run) -> None:
    made = run(*SERVICE, "--operations", "usage_read", "--no-token")
    assert re.fullmatch(r"[0-9a-f]{32}\n", made.stdout)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((*ASKED, "--principal", "alice"), 1, "--principal: is for a person's"),
        ((*ASKED, "--roles", "operator"), 1, "--roles: is for a person's"),
        ((*ASKED, "--actor", "bot"), 1, "--actor: is for a person's"),
        ((*ASKED, "--ceiling", "viewer"), 1, "--ceiling: is for a person's"),
        ((*SERVICE, "--operations", "usage_read"), 1, "--audience: is needed"),
        ((*SERVICE, "--audience", SERVER), 2, "usage_write, usage_read, entitlement_read"),
        ((*SERVICE, "--audience", SERVER, "--operations", "usage_wrote"), 1, "did you mean"),
        ((*ASKED, "--ttl", "91d"), 1, "ttl: must be at most 90d"),
        (("token", "issue", "--tenants", "acme"), 2, "--principal and --roles"),
        (("token", "issue", "--tenants", "acme", "--principal", "alice"), 2, "--roles"),
        ((*PERSON, "--operations", "usage_read"), 1, "--operations: are a service's"),
    ],
)
def test_what_is_no_services_token_is_refused(
    run: Run, words: tuple[str, ...], code: int, said: str
) -> None:
    told = run(*words)
    assert (told.exit_code, told.stdout) == (code, "")
    assert said in told.stderr
