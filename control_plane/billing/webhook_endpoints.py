"""Where webhooks go: registering an endpoint, its secrets and their rotation, ending it. Not what is sent there.

Secrets lie sealed to the workspace's key, so that who reads the store cannot sign as we do; only
`secrets_of` opens them, for the one who signs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from sqlalchemy import Connection, String, bindparam, func, insert, select, update

from control_plane.billing.public_address import PORTS, URL_CHARS_MAX, require_url
from control_plane.billing.webhooks import sign
from control_plane.domain.canonical import canonical, instant, plain
from control_plane.domain.instant import Instant
from control_plane.domain.invoice import BillingId
from control_plane.domain.tenant import TenantId
from control_plane.errors import NotFound, Refused
from control_plane.secrets.box import open_box, seal
from control_plane.store.rows import by, parse
from control_plane.store.webhook_tables import webhook_endpoint

DisabledCause: TypeAlias = Literal["asked", "gone"]
Owner: TypeAlias = TenantId | Literal[""]
"""A tenant, or "" for the workspace, whose endpoints are told of every tenant."""

MessageKind: TypeAlias = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=120)
]
KindPattern: TypeAlias = Annotated[
    str, Field(pattern=r"^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?)$", max_length=120)
]
"""A kind; `*` for all, or `invoice.*` for those that begin so."""

ENDPOINTS_MAX: Final = 16  # of one tenant, or of the workspace
KINDS_MAX: Final = 64
ROTATION_OVERLAP: Final = timedelta(hours=24)

_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True)
_C: Final = webhook_endpoint.c
_ANY: Final = (
    select(_C.id)
    .where(
        (_C.tenant == bindparam("named", type_=String)) | (_C.tenant == ""),
        _C.removed_at.is_(None),
        _C.disabled_at.is_(None),
    )
    .limit(1)
)


class NewEndpoint(BaseModel):
    """An endpoint as it is asked for."""

    model_config = _STRICT

    id: BillingId
    tenant: Owner
    url: str = Field(max_length=URL_CHARS_MAX)
    kinds: Annotated[tuple[KindPattern, ...], Field(min_length=1, max_length=KINDS_MAX)]


class Endpoint(NewEndpoint):
    """An endpoint as it stands. Until `former_until` its former secret signs as well."""

    created_at: Instant
    former_until: Instant | None = None
    disabled_at: Instant | None = None
    disabled_cause: DisabledCause | None = None
    removed_at: Instant | None = None

    @model_validator(mode="after")
    def _is_disabled_for_a_cause(self) -> Self:
        if (self.disabled_at is None) != (self.disabled_cause is None):
            raise ValueError("an endpoint has a cause exactly while it is disabled")
        return self

    @property
    def enabled(self) -> bool:
        """Whether anything is sent there."""
        return self.disabled_at is None and self.removed_at is None

    def takes(self, kind: str) -> bool:
        """Whether it asked for messages of this kind."""
        return any(_matches(one, kind) for one in self.kinds)


def register(
    connection: Connection,
    workspace_public: bytes,
    asked: NewEndpoint,
    secret: SecretStr,
    now: datetime,
    ports: frozenset[int] = PORTS,
) -> Endpoint:
    """Keep a new endpoint with its secret, as `webhooks.new_secret` made it.

    BadInput for a URL or secret that is malformed, Refused: `address_not_public`, or
    `endpoints_full` where 16 stand already. Its name is resolved at every attempt, and not here.
    """
    require_url(asked.url, ports)
    sign([secret], asked.id, now, b"")
    standing = select(func.count()).where(_C.tenant == asked.tenant, _C.removed_at.is_(None))
    if connection.execute(standing).scalar_one() >= ENDPOINTS_MAX:
        raise Refused(
            f"there are {ENDPOINTS_MAX} endpoints already",
            code="endpoints_full",
            rule="webhook.endpoints",
            fact="endpoints",
        )
    made = Endpoint(**dict(asked), created_at=now)
    sealed = _sealed(workspace_public, asked.id, secret)
    row: Any = plain(made)
    connection.execute(insert(webhook_endpoint), {**row, "secret": sealed})
    return made


def find(connection: Connection, endpoint_id: str) -> Endpoint | None:
    """The endpoint of that id, removed or not; None where there never was one."""
    return by(connection, _C.id, Endpoint, endpoint_id)


def owned(connection: Connection, owner: str) -> list[Endpoint]:
    """The endpoints of a tenant, or of the workspace (""), without those that were removed."""
    standing = select(webhook_endpoint).where(_C.tenant == owner, _C.removed_at.is_(None))
    rows = connection.execute(standing.order_by(_C.id)).mappings()
    return [parse(Endpoint, dict(row)) for row in rows]


def standing(connection: Connection) -> list[Endpoint]:
    """Every endpoint that was not removed: the workspace's first, then each tenant's."""
    wanted = select(webhook_endpoint).where(_C.removed_at.is_(None))
    rows = connection.execute(wanted.order_by(_C.tenant, _C.created_at, _C.id)).mappings()
    return [parse(Endpoint, dict(row)) for row in rows]


def any_for(connection: Connection, tenant: str) -> bool:
    """Whether anybody at all is told of that tenant: one look, before messages are made."""
    return connection.execute(_ANY, {"named": tenant}).first() is not None


def receivers(connection: Connection, tenant: str, kind: str) -> list[Endpoint]:
    """Who is told of such an event of that tenant: its own endpoints, and the workspace's."""
    both = [*owned(connection, tenant), *owned(connection, "")]
    return [one for one in both if one.enabled and one.takes(kind)]


def rotate(
    connection: Connection,
    workspace_public: bytes,
    endpoint_id: str,
    secret: SecretStr,
    now: datetime,
    overlap: timedelta = ROTATION_OVERLAP,
) -> Endpoint:
    """Sign with a new secret from now on, and with the one before for `overlap` longer.

    After a leak, an overlap of zero forgets the one before at once. NotFound; Refused
    (`rotation_open`) while an earlier overlap lasts, unless this one is zero.
    """
    standing = _required(connection, endpoint_id)
    sign([secret], endpoint_id, now, b"")
    is_over = standing.former_until is None or standing.former_until <= now
    if overlap and not is_over:
        raise Refused(
            "the secret before is still in use from the last rotation",
            code="rotation_open",
            rule="webhook.rotation",
            fact="former_until",
        )
    _change(
        connection,
        endpoint_id,
        secret=_sealed(workspace_public, endpoint_id, secret),
        former_secret=_C.secret if overlap else None,
        former_until=instant(now + overlap) if overlap else None,
    )
    return _required(connection, endpoint_id)


def disable(
    connection: Connection, endpoint_id: str, cause: DisabledCause, now: datetime
) -> Endpoint:
    """Send nothing there any more; what waits becomes a dead letter when it is due. Again: nothing.

    NotFound where it was removed.
    """
    if _required(connection, endpoint_id).enabled:
        _change(connection, endpoint_id, disabled_at=instant(now), disabled_cause=cause)
    return _required(connection, endpoint_id)


def enable(connection: Connection, endpoint_id: str) -> Endpoint:
    """Send there again; dead letters wait to be replayed. NotFound where it was removed."""
    _required(connection, endpoint_id)
    _change(connection, endpoint_id, disabled_at=None, disabled_cause=None)
    return _required(connection, endpoint_id)


def remove(connection: Connection, endpoint_id: str, now: datetime) -> None:
    """End it for good, and forget its former secret; what waits is canceled when it is due.

    NotFound where it was removed already.
    """
    _required(connection, endpoint_id)
    _change(
        connection,
        endpoint_id,
        removed_at=instant(now),
        former_secret=None,
        former_until=None,
    )


def secrets_of(
    connection: Connection, workspace_private: bytes, endpoint_id: str, now: datetime
) -> tuple[SecretStr, ...]:
    """The secrets that sign at `now`, the newest first. NotFound; BoxError when one does not open."""
    row = connection.execute(select(webhook_endpoint).where(_C.id == endpoint_id)).first()
    if row is None:
        raise NotFound
    sealed = [row.secret]
    if row.former_until is not None and instant(now) < row.former_until:
        sealed.append(row.former_secret)
    context = _context(endpoint_id)
    return tuple(SecretStr(open_box(workspace_private, one, context).decode()) for one in sealed)


def _required(connection: Connection, endpoint_id: str) -> Endpoint:
    found = find(connection, endpoint_id)
    if found is None or found.removed_at is not None:
        raise NotFound
    return found


def _change(connection: Connection, endpoint_id: str, **values: Any) -> None:
    connection.execute(update(webhook_endpoint).where(_C.id == endpoint_id).values(**values))


def _matches(pattern: str, kind: str) -> bool:
    if pattern.endswith("*"):
        return kind.startswith(pattern[:-1])
    return kind == pattern


def _sealed(public: bytes, endpoint_id: str, secret: SecretStr) -> bytes:
    return seal(public, secret.get_secret_value().encode(), _context(endpoint_id))


def _context(endpoint_id: str) -> bytes:
    return canonical(["webhook secret", endpoint_id])
