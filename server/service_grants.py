"""Grants of the SaaS's own services: asked for, by operation and tenant. Not a person's, nor an agent's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from control_plane.domain.caller import (
    EVERY_TENANT,
    SERVICE_PREFIX,
    SERVICE_ROLES,
    Grant,
    ServiceRole,
)
from control_plane.domain.canonical import instant
from control_plane.domain.near_names import did_you_mean
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput
from server.grants import listed, parse_ttl

SERVICE_TTL_MAX: Final = timedelta(days=90)
_STEM: Final = "service_"
OPERATIONS: Final[dict[str, ServiceRole]] = {
    role.removeprefix(_STEM): role for role in SERVICE_ROLES
}
"""What a service may be let do, by the name that an operator gives it, and the role that stands for it."""

ServiceName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,59}$")]


class NewServiceGrant(BaseModel):
    """What a service's grant shall say: its operations are all that it may do."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    service: ServiceName
    operations: Annotated[
        tuple[ServiceRole, ...], Field(min_length=1, max_length=len(SERVICE_ROLES))
    ]
    tenants: Annotated[tuple[TenantId | Literal["*"], ...], Field(min_length=1, max_length=100)]
    ttl: Annotated[timedelta, Field(ge=timedelta(minutes=1), le=SERVICE_TTL_MAX)]

    @model_validator(mode="after")
    def _every_tenant_stands_alone(self) -> NewServiceGrant:
        if EVERY_TENANT in self.tenants and self.tenants != (EVERY_TENANT,):
            raise ValueError("tenants: '*' stands alone")
        return self

    def grant(self, grant_id: str, now: datetime) -> Grant:
        """The grant, from this second on; who acts and for whom is the service itself."""
        start = now.replace(microsecond=0)
        name = f"{SERVICE_PREFIX}{self.service}"
        roles: tuple[ServiceRole, ...] = tuple(
            role for role in SERVICE_ROLES if role in self.operations
        )
        return Grant(
            id=grant_id,
            principal=name,
            actor=name,
            actor_kind="service",
            roles=roles,
            ceiling=roles,
            tenants=tuple(sorted(set(self.tenants))),
            issued_at=instant(start),
            expires_at=instant(start + self.ttl),
        )


def parse_new_service(*, service: str, operations: str, tenants: str, ttl: str) -> NewServiceGrant:
    """A service's new grant out of texts, lists with commas. Raises BadInput naming the option and its rule."""
    values = {
        "service": service,
        "operations": tuple(_role(one) for one in listed(operations)),
        "tenants": listed(tenants),
        "ttl": parse_ttl(ttl, SERVICE_TTL_MAX),
    }
    try:
        return NewServiceGrant.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if not first["loc"]:
            name, _, rule = first["msg"].removeprefix("Value error, ").partition(": ")
            raise BadInput(name, rule) from None
        raise BadInput(str(first["loc"][0]), first["msg"]) from None


def _role(operation: str) -> ServiceRole:
    role = OPERATIONS.get(operation)
    if role is None:
        rule = f"must be of {', '.join(OPERATIONS)}{did_you_mean(operation, OPERATIONS)}"
        raise BadInput("operations", rule)
    return role
