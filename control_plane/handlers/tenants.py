"""Handlers that read tenants. Nothing here changes one."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select, true

from control_plane.commands import Command, GetTenant, ListTenants
from control_plane.domain.caller import EVERY_TENANT
from control_plane.domain.canonical import Json, instant
from control_plane.domain.tenant import Tenant
from control_plane.facts.load import (
    facts_of_tenant,
    subscription_row,
    tenant_at_hand,
    tenant_row,
)
from control_plane.facts.workspace import WorkspaceFacts
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.store import rows, tables


class _Listed(NamedTuple):
    """One of a page: the tenant, and how its subscription stands."""

    tenant: Tenant
    subscription_state: str


def describe(tenant: Tenant, subscription_state: str) -> dict[str, Json]:
    """A tenant as a reader may see it."""
    until = tenant.restorable_until if tenant.state == "deprovisioned" else None
    return {
        "tenant": tenant.id,
        "display_name": tenant.display_name,
        "state": tenant.state,
        "isolation": tenant.isolation,
        "plan": tenant.plan,
        "region": tenant.region,
        "access_mode": tenant.access_mode,
        "suspend_reasons": [*sorted(tenant.suspend_reasons)],
        "subscription_state": subscription_state,
        "restorable_until": until,
    }


def described(view: View, tenant: str) -> dict[str, Json]:
    """The same of a tenant that is known to be there."""
    found = tenant_row(view.connection, tenant)
    subscription = subscription_row(view.connection, tenant)
    assert found is not None, "the subject was decided to exist, or a run has made it"
    return describe(found, "" if subscription is None else subscription.state)


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
        states = _subscription_states(view, [tenant.id for tenant in found])
        now = instant(view.ports.clock.now())
        return [_member(tenant, states.get(tenant.id, ""), now) for tenant in found]

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
            listed.append(describe(member.loaded.tenant, member.loaded.subscription_state))
        full = len(page) == command.limit
        return {"tenants": listed, "next_after": page[-1].id if full else None}


def _subscription_states(view: View, tenants: list[str]) -> dict[str, str]:
    table = tables.subscription
    statement = select(table.c.tenant, table.c.state).where(table.c.tenant.in_(tenants))
    return {row.tenant: row.state for row in view.connection.execute(statement)}


def _member(tenant: Tenant, subscription_state: str, now: str) -> Subject:
    facts = facts_of_tenant(tenant, subscription_state, True, now)
    return Subject(
        id=tenant.id, facts=facts, tenant=tenant.id, loaded=_Listed(tenant, subscription_state)
    )


class GetTenantHandler(SingleAnswer):
    """Reads one tenant."""

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant, there or not."""
        assert isinstance(command, GetTenant)
        now = instant(view.ports.clock.now())
        facts, found, state = tenant_at_hand(view.connection, view.caller, command.tenant, now)
        listed = None if found is None else _Listed(found, state)
        return Subject(id=command.tenant, facts=facts, tenant=command.tenant, loaded=listed)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The tenant."""
        assert isinstance(subject.loaded, _Listed), "the subject was decided to exist"
        return describe(subject.loaded.tenant, subject.loaded.subscription_state)
