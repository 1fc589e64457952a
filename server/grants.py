"""Grants: asked for, kept, listed and revoked in the store. Not the tokens that name them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, desc, true

from control_plane.audit.leaf import Guard
from control_plane.audit.recorder import guard
from control_plane.domain.caller import (
    AGENT_CEILING,
    EVERY_TENANT,
    ROLES,
    SERVICE_PREFIX,
    Grant,
    Role,
)
from control_plane.domain.canonical import instant
from control_plane.domain.house import is_house
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput, NotFound
from control_plane.ports import Recorder
from control_plane.store import rows, tables

TTL_MAX: Final = timedelta(days=30)
GRANTS_LISTED_MAX: Final = 200
_TTL = re.compile(r"([1-9][0-9]{0,5})([mhd])")
# Who reads what others do, and answers for it: they change nothing by themselves.
_OVERSEERS: Final[frozenset[Role]] = frozenset({"auditor", "approver"})
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}

PersonName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+:/-]{0,119}$")]


class NewGrant(BaseModel):
    """What a grant shall say. With an actor it is an agent's, within the agents' ceiling."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    principal: PersonName
    actor: PersonName | None = None
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=len(ROLES))]
    ceiling: Annotated[tuple[Role, ...], Field(min_length=1, max_length=len(ROLES))] | None = None
    tenants: Annotated[tuple[TenantId | Literal["*"], ...], Field(min_length=1, max_length=100)]
    ttl: Annotated[timedelta, Field(ge=timedelta(minutes=1), le=TTL_MAX)]

    @model_validator(mode="after")
    def _every_tenant_is_for_the_platform(self) -> NewGrant:
        if EVERY_TENANT in self.tenants and self.tenants != (EVERY_TENANT,):
            raise ValueError("tenants: '*' stands alone")
        admin = "platform_admin" in self.roles
        if EVERY_TENANT in self.tenants and not (admin or set(self.roles) <= _OVERSEERS):
            raise ValueError("tenants: '*' needs platform_admin, or only auditor and approver")
        return self

    @model_validator(mode="after")
    def _nobody_is_the_house(self) -> NewGrant:
        for name, given in (("principal", self.principal), ("actor", self.actor)):
            if given is not None and is_house(given):
                raise ValueError(f"{name}: names with 'house:' are the house's own")
        return self

    @model_validator(mode="after")
    def _nobody_is_called_like_a_service(self) -> NewGrant:
        for name, given in (("principal", self.principal), ("actor", self.actor)):
            if given is not None and given.casefold().startswith(SERVICE_PREFIX):
                raise ValueError(f"{name}: names with '{SERVICE_PREFIX}' are a service's")
        return self

    @model_validator(mode="after")
    def _an_agent_is_bounded(self) -> NewGrant:
        if self.actor is None:
            if self.ceiling is not None:
                raise ValueError("ceiling: is for an actor")
            return self
        if self.actor == self.principal:
            raise ValueError("actor: must be another than the principal")
        if self.ceiling is not None and not set(self.ceiling) <= set(AGENT_CEILING):
            raise ValueError("ceiling: an agent is never an approver")
        return self

    def grant(self, grant_id: str, now: datetime) -> Grant:
        """The grant, from this second on."""
        start = now.replace(microsecond=0)
        agent = self.actor is not None
        return Grant(
            id=grant_id,
            principal=self.principal,
            actor=self.actor or self.principal,
            actor_kind="agent" if agent else "human",
            roles=_ordered(self.roles),
            ceiling=_ordered(self.ceiling or (AGENT_CEILING if agent else ROLES)),
            tenants=tuple(sorted(set(self.tenants))),
            issued_at=instant(start),
            expires_at=instant(start + self.ttl),
        )


def parse_new_grant(
    *,
    principal: str,
    roles: str,
    tenants: str,
    ttl: str,
    actor: str | None = None,
    ceiling: str | None = None,
) -> NewGrant:
    """A new grant out of texts, lists with commas. Raises BadInput naming the option and its rule."""
    values = {
        "principal": principal,
        "actor": actor,
        "roles": listed(roles),
        "ceiling": None if ceiling is None else listed(ceiling),
        "tenants": listed(tenants),
        "ttl": parse_ttl(ttl),
    }
    try:
        return NewGrant.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if not first["loc"]:
            name, _, rule = first["msg"].removeprefix("Value error, ").partition(": ")
            raise BadInput(name, rule) from None
        raise BadInput(str(first["loc"][0]), first["msg"]) from None


def parse_ttl(text: str, at_most: timedelta = TTL_MAX) -> timedelta:
    """`30m`, `8h` or `7d`; at most 30 days, where no other bound is given. Raises BadInput."""
    found = _TTL.fullmatch(text)
    if found is None:
        raise BadInput("ttl", "must be a number and m, h or d, as 30m, 8h or 7d")
    ttl = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if ttl > at_most:
        raise BadInput("ttl", f"must be at most {at_most.days}d")
    return ttl


def keep(connection: Connection, grant: Grant, recorder: Recorder) -> None:
    """Insert a grant with its audit leaf."""
    rows.put(connection, tables.grant, grant)
    _record(connection, recorder, "grant.issued", grant, ())


def read(connection: Connection, grant_id: str) -> Grant | None:
    """The grant of that id, or None."""
    return rows.by(connection, tables.grant.c.id, Grant, grant_id)


def newest(connection: Connection) -> list[Grant]:
    """The newest grants, at most 200, revoked and expired ones too."""
    return rows.every(
        connection,
        tables.grant,
        Grant,
        true(),
        order_by=desc(tables.grant.c.issued_at),
        limit=GRANTS_LISTED_MAX,
    )


def revoke(connection: Connection, grant_id: str, now: datetime, recorder: Recorder) -> Grant:
    """End a grant from this instant on; one that is revoked stays as it is. Raises NotFound."""
    grant = read(connection, grant_id)
    if grant is None:
        raise NotFound("there is no such grant", code="grant_absent")
    if grant.revoked_at is not None:
        return grant
    revoked = grant.model_copy(update={"revoked_at": instant(now)})
    where = tables.grant.c.id == grant_id
    found = guard(connection, tables.grant.name, grant_id)
    rows.change(connection, tables.grant, where, revoked_at=revoked.revoked_at)
    _record(connection, recorder, "grant.revoked", revoked, (found,))
    return revoked


def _record(
    connection: Connection, recorder: Recorder, kind: str, grant: Grant, found: tuple[Guard, ...]
) -> None:
    guards = ((tables.grant.name, grant.id),)
    recorder.record(connection, kind, "", grant.model_dump(mode="json"), guards, found)


def listed(text: str) -> tuple[str, ...]:
    """The parts of a text with commas between."""
    return tuple(part.strip() for part in text.split(","))


def _ordered(roles: tuple[Role, ...]) -> tuple[Role, ...]:
    return tuple(role for role in ROLES if role in roles)
