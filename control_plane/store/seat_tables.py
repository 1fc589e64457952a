"""The table of seats: a row for each that is held. Not how many there are, and nothing counted up or down."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, PrimaryKeyConstraint, String, Table

from control_plane.store.base import INSTANT, NAME, SLUG, metadata

# Ordered by its bytes on both engines: a page's end means the same whatever the server's locale is.
HOLDER: Final = String(200).with_variant(String(200, collation="C"), "postgresql")

seat = Table(
    "seat",
    metadata,
    Column("tenant", SLUG, nullable=False),
    Column("holder", HOLDER, nullable=False),
    Column("assigned_at", INSTANT, nullable=False),
    # Of an assigned one null: it is the holder's until it is released.
    Column("reserved_until", INSTANT),
    Column("assigned_by", NAME, nullable=False),
    PrimaryKeyConstraint("tenant", "holder"),
    comment="Who holds a seat of a tenant's: assigned, or reserved until an instant.",
)
