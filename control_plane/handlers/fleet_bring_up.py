"""How a database that is made gets every migration that is in force. Not how all tenants get a new one."""

from __future__ import annotations

import time
from typing import Final

from control_plane.databases.migrated import migrated
from control_plane.domain.home import Home
from control_plane.fleet import campaigns
from control_plane.handlers.handler import Work
from control_plane.handlers.tenant_moves import tenant_now

_PAUSE_S: Final = 0.2
_TRIES_MAX: Final = 50
_PASSING: Final = frozenset({"database_busy", "database_unavailable", "commit_unknown"})


def bring_up(
    work: Work, home: Home | None = None, *, at_least: int = 0, epoch: int | None = None
) -> int:
    """Bring the run's tenant to the last migration in force, and write its receipts; which one that is.

    In force is what a campaign has begun: who comes while it is under way is not behind it. A
    repetition changes nothing. `home` is the database that is made, else the one that serves; it
    comes to `at_least` that migration, and stands at `epoch` then, else at the run's. Raises what
    applying raises.
    """
    with work.ports.store.read() as connection:
        last, found = campaigns.in_force(connection), campaigns.newest(connection)
    last = max(last, at_least)
    if not last or found is None:
        return 0
    from control_plane.fleet.bringing import Bringing
    from control_plane.fleet.checker import texts

    catalog, tenant = work.ports.catalog, work.run.tenant
    made = home or tenant_now(work).home
    wanted = texts(catalog.migrations[:last], set(catalog.collections))
    collections = tuple(catalog.collections.values())
    bringing = Bringing(found.id, wanted, collections, work.ports.clock.now())
    engine = work.ports.databases.at(made)
    held = work.epoch if epoch is None else epoch
    brought = bringing.bring(engine, tenant, made, held)
    for _ in range(_TRIES_MAX):
        # Where tenants share tables, a campaign may have them in hand.
        if brought.error is None or brought.error.code not in _PASSING:
            break
        time.sleep(_PAUSE_S)
        brought = bringing.bring(engine, tenant, made, held)
    if brought.error is not None:
        raise brought.error
    with work.ports.store.write(tenant) as inside:
        campaigns.settle(inside, brought.receipts)
    return last


def bring_up_alike(work: Work, serving: Home, made: Home, data_epoch: int) -> None:
    """Bring the database that serves at `data_epoch`, and the one that is made, to the same migration.

    That is the last one in force, or what either has had before a campaign was aborted.
    """
    places = ((serving, data_epoch or work.epoch), (made, work.epoch))
    last = max(_had(work, home) for home, _ in places)
    for home, epoch in places:
        bring_up(work, home, at_least=last, epoch=epoch)


def _had(work: Work, home: Home) -> int:
    engine = work.ports.databases.at(home)
    with engine.reading(work.run.tenant, home.isolation) as connection:
        return max((one.number for one in migrated(connection).values()), default=0)
