"""Every table of our own store at once, as the migrations must come to. Not a table itself."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData

from control_plane.store import (
    billing_tables,
    coupon_tables,
    database_tables,
    infrastructure_tables,
    ledger_tables,
    seat_tables,
    tables,
    usage_tables,
    webhook_tables,
)
from control_plane.store.base import metadata

# Named, since a table is in the metadata only once its module was imported.
MODULES: Final = (
    tables,
    billing_tables,
    coupon_tables,
    database_tables,
    infrastructure_tables,
    ledger_tables,
    seat_tables,
    usage_tables,
    webhook_tables,
)
METADATA: Final[MetaData] = metadata
