"""Handlers that read tenants. Nothing here changes one."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import true

from control_plane.commands import Command, GetTenant, ListTenants
from control_plane.domain.caller import EVERY_TENANT
from control_plane.domain.canonical import Json, instant
from control_plane.domain.gate import GATES
from control_plane.domain.tenant import Tenant, stricter
from control_plane.facts.load import (
    Standing,
    facts_of_tenant,
    standing_of,
    standings,
    subscription_row,
    tenant_at_hand,
    tenant_row,
)
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.freezes import any_holds, freezes
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.store import rows, tables


class _Listed(NamedTuple):
    """One of a page: the tenant, and how its subscription stands."""

    tenant: Tenant
    standing: Standing


def describe(tenant: Tenant, standing: Standing) -> dict[str, Json]:
    """A tenant as a reader may see it: shut by its debts as by any other reason."""
    gate = GATES[standing.level]
    own = tenant.suspend_reasons
    reasons = {*own, "billing"} if gate.suspended else own
    until = tenant.restorable_until if tenant.state == "deprovisioned" else None
    return {
        "tenant": tenant.id,
        "display_name": tenant.display_name,
        "state": tenant.state,
        "isolation": tenant.isolation,
        "plan": tenant.plan,
        "cloud": tenant.cloud,
        "region": tenant.region,
        "access_mode": stricter(tenant.access_mode, gate.access_mode),
        "suspend_reasons": [*sorted(reasons)],
        "subscription_state": standing.state,
        "billing_level": standing.level,
        "restorable_until": until,
    }


def described(view: View, tenant: str) -> dict[str, Json]:
    """The same of a tenant that is known to be there."""
    found = tenant_row(view.connection, tenant)
    subscription = subscription_row(view.connection, tenant)
    assert found is not None, "the subject was decided to exist, or a run has made it"
    return describe(found, standing_of(subscription, instant(view.ports.clock.now())))


class ListTenantsHandler:
    """Lists the tenants that the caller may read."""

    def subject(self, command: Command, view: View) -> Subject:
        """The workspace; each tenant is decided on its own."""
        return Subject(id="workspace", facts=WorkspaceFacts())

    def page(self, command: Command, view: View) -> list[Subject]:
        """The next tenants of the caller's grant, in the order of their ids."""
        assert isinstance(command, ListTenants)
        table = tables.tenant
        mine = (
            true() if EVERY_TENANT in view.caller.tenants else table.c.id.in_(view.caller.tenants)
        )
        after = table.c.id > command.after if command.after else true()
        found = rows.every(
            view.connection, table, Tenant, mine & after, order_by=table.c.id, limit=command.limit
        )
        now = instant(view.ports.clock.now())
        known = standings(view.connection, [tenant.id for tenant in found], now)
        return [_member(tenant, known.get(tenant.id, Standing()), now) for tenant in found]

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The tenants, and where the next page begins."""
        assert isinstance(command, ListTenants)
        listed: list[Json] = []
        for member in page:
            assert isinstance(member.loaded, _Listed)
            listed.append(describe(member.loaded.tenant, member.loaded.standing))
        full = len(page) == command.limit
        return {"tenants": listed, "next_after": page[-1].id if full else None}


def _member(tenant: Tenant, standing: Standing, now: str) -> Subject:
    facts = facts_of_tenant(tenant, standing, True, now)
    return Subject(id=tenant.id, facts=facts, tenant=tenant.id, loaded=_Listed(tenant, standing))


class GetTenantHandler(SingleAnswer):
    """Reads one tenant."""

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant, there or not."""
        assert isinstance(command, GetTenant)
        now = instant(view.ports.clock.now())
        facts, found, standing = tenant_at_hand(view.connection, view.caller, command.tenant, now)
        listed = None if found is None else _Listed(found, standing)
        return Subject(id=command.tenant, facts=facts, tenant=command.tenant, loaded=listed)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The tenant, and whether nothing begins about it."""
        assert isinstance(subject.loaded, _Listed), "the subject was decided to exist"
        found = subject.loaded.tenant
        held = any_holds(freezes(view.connection), found.id, found.cloud)
        return {**describe(found, subject.loaded.standing), "frozen": held}
