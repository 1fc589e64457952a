"""Who calls: the human, the actor that acts for them, and what both together may be. Not a token and not a decision."""

from __future__ import annotations

from typing import Final, Literal

from control_plane.domain.record import Record

ActorKind = Literal["human", "agent", "service"]
Role = Literal["viewer", "support", "operator", "billing", "approver", "auditor", "platform_admin"]
HouseRole = Literal["house"]
ServiceRole = Literal[
    "service_usage_write", "service_usage_read", "service_entitlement_read", "service_connection"
]

ROLES: tuple[Role, ...] = (
    "viewer",
    "support",
    "operator",
    "billing",
    "approver",
    "auditor",
    "platform_admin",
)
# An agent never decides an approval, so the role that does is outside every agent's ceiling.
AGENT_CEILING: tuple[Role, ...] = tuple(role for role in ROLES if role != "approver")
EVERY_TENANT = "*"
# What a service of the SaaS's own may do, one operation each; no person and no agent has them.
SERVICE_ROLES: Final[tuple[ServiceRole, ...]] = (
    "service_usage_write",
    "service_usage_read",
    "service_entitlement_read",
    "service_connection",
)
SERVICE_PREFIX: Final = "service:"
"""How the name of a service begins, and no other's."""
# No grant can hold it: it is none of the roles that grants are made of.
HOUSE_ROLE: Final[HouseRole] = "house"


class Grant(Record):
    """A revocable right: read on each call, so that a change or revocation holds on the next one."""

    id: str
    principal: str
    actor: str
    actor_kind: ActorKind
    roles: tuple[Role | ServiceRole, ...]
    ceiling: tuple[Role | ServiceRole, ...]
    tenants: tuple[str, ...]
    issued_at: str
    expires_at: str
    revoked_at: str | None = None

    def live(self, now: str) -> bool:
        """Whether the grant holds at an instant."""
        return self.revoked_at is None and self.issued_at <= now < self.expires_at


class Caller(Record):
    """The caller of one call: effective roles only, the human's within the actor's ceiling.

    Who is of the kind ``house`` is made by no grant: see house.py.
    """

    principal: str
    actor: str
    actor_kind: ActorKind | Literal["house"]
    roles: tuple[Role | HouseRole | ServiceRole, ...]
    tenants: tuple[str, ...]
    grant_id: str

    @classmethod
    def of(cls, grant: Grant) -> Caller:
        """The caller that a grant makes."""
        bound = set(grant.ceiling)
        if grant.actor_kind == "agent":
            bound &= set(AGENT_CEILING)
        known = SERVICE_ROLES if grant.actor_kind == "service" else ROLES
        return cls(
            principal=grant.principal,
            actor=grant.actor,
            actor_kind=grant.actor_kind,
            roles=tuple(role for role in known if role in grant.roles and role in bound),
            tenants=grant.tenants,
            grant_id=grant.id,
        )

    def member_of(self, tenant: str) -> bool:
        """Whether the caller's grant names this tenant."""
        return EVERY_TENANT in self.tenants or tenant in self.tenants

    def same_as(self, principal: str, actor: str) -> bool:
        """Whether both the human and the actor are these: a handle belongs to the pair."""
        return self.principal == principal and self.actor == actor
