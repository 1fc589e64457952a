"""One tenant's database brought to a migration: each one behind the last that it has. Not who is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from control_plane.data.collection import Collection
from control_plane.databases.migrated import migrated
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.campaign import FleetReceipt, ReceiptState, place_of
from control_plane.domain.canonical import instant
from control_plane.domain.home import Home
from control_plane.errors import NotFound, PaybillError
from control_plane.fleet.apply import Applying, Receipt, StatementFailed, apply, had
from control_plane.fleet.checker import Ready
from control_plane.fleet.migration_file import Dialect

_DETAIL_CHARS_MAX = 200
_CODE_CHARS_MAX = 40


@dataclass(frozen=True, slots=True)
class Brought:
    """What has come of it: a receipt for each migration, up to the first that failed."""

    receipts: tuple[FleetReceipt, ...]
    error: PaybillError | None = None


@dataclass(frozen=True, slots=True)
class Bringing:
    """Which migrations, for each engine; in whose campaign, and under which declarations."""

    campaign: str
    texts: Mapping[Dialect, Sequence[Ready]]
    collections: Sequence[Collection]
    now: datetime
    first: int = 1
    """From which number on a receipt is given of what stood already."""

    def bring(self, engine: DatabaseEngine, tenant: str, home: Home, epoch: int) -> Brought:
        """Apply what is missing, in order; the first error ends it.

        Raises NotFound where the tenant has no database there (any more).
        """
        by = Applying(tenant, epoch, self.collections, self.now)
        made: list[FleetReceipt] = []
        # What the place says by itself needs no transaction that keeps others waiting.
        with engine.reading(tenant, home.isolation) as connection:
            known = migrated(connection)
        with engine.altering(tenant, home.isolation) as place:
            for ready in self.texts[place.dialect]:
                try:
                    found = had(known, ready) or apply(place, ready, by)
                except NotFound:
                    raise
                except PaybillError as error:
                    made.append(self._receipt(tenant, home, ready, "failed", error=error))
                    return Brought(tuple(made), error)
                if found.fresh or found.number >= self.first:
                    made.append(self._receipt(tenant, home, ready, "done", found))
        return Brought(tuple(made))

    def intended(self, tenant: str, home: Home) -> list[FleetReceipt]:
        """What is to be done for one tenant, as it is written down before."""
        # Engines differ in the text alone.
        wanted = next(iter(self.texts.values()))
        return [self._receipt(tenant, home, ready, "pending") for ready in wanted]

    def _receipt(
        self,
        tenant: str,
        home: Home,
        ready: Ready,
        state: ReceiptState,
        found: Receipt | None = None,
        error: PaybillError | None = None,
    ) -> FleetReceipt:
        place = error.place if isinstance(error, StatementFailed) else ""
        rule = getattr(error, "rule", "") or ""
        why = "" if error is None else error.code
        return FleetReceipt(
            tenant=tenant,
            place=place_of(home),
            number=ready.migration.number,
            migration=ready.migration.name,
            digest=ready.migration.digest,
            campaign=self.campaign,
            state=state,
            before="" if found is None else found.before,
            after="" if found is None else found.after,
            attempts=0 if state == "pending" else 1,
            code=why[:_CODE_CHARS_MAX],
            detail=(place or str(rule))[:_DETAIL_CHARS_MAX],
            changed_at=instant(self.now),
        )
