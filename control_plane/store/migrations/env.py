"""Runs the store's migrations on a connection that is given. Opens none, and sets up no logging."""

from __future__ import annotations

from alembic import context

from control_plane.store.schema import METADATA

# The transaction is the caller's: it holds the write lock, and all of it commits or nothing.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
)
context.run_migrations()
