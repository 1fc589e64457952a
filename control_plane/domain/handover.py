"""What a tenant's own services are handed to reach its database: which half, what it may, where it lies. No secret."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from control_plane.domain.record import Record

Half: TypeAlias = Literal["a", "b"]
"""Of two credentials one is in use, and the other takes its place."""
Access: TypeAlias = Literal["full", "read_only", "none"]

HALVES: Final[tuple[Half, ...]] = get_args(Half)


def other_half(half: str) -> Half:
    """The half that is free while this one is in use; the first where none is."""
    return "b" if half == "a" else "a"


def half_of(told: object) -> Half:
    """The half that a row or a note names; the first where it names none."""
    return "b" if told == "b" else "a"


class Address(NamedTuple):
    """Where a database is reached, as the engine that stands there knows it: all but the secret.

    On SQLite there is a path, and nothing to log in to.
    """

    engine: Literal["sqlite", "postgres"]
    database: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    schema_name: str | None = None


class HandoverTerms(NamedTuple):
    """How services are handed what they are: by the settings of the process.

    `host` and `port` are where services reach the server of databases, where that is not where we
    do. The former credential holds for `overlap_s` after a rotation, unless they have followed
    before; what is at work when they are limited has `patience_s` to end.
    """

    host: str | None = None
    port: int | None = None
    overlap_s: float = 600.0
    patience_s: float = 2.0


class Handover(Record):
    """What a tenant's services were told last, and how far they have followed.

    `secret` is the reference of the credential, and `secret_version` is in it: never the secret.
    Instants are RFC 3339 in UTC.
    """

    tenant: str
    version: int
    database_id: str
    access: Access
    half: Literal["a", "b", ""]
    secret: str
    changed_at: str
    acked_version: int = 0
    acked_at: str | None = None
    acked_by: str | None = None
