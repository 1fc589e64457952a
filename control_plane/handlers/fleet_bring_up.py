"""How a database that is made gets every migration that is in force. Not how all tenants get a new one."""

from __future__ import annotations

import time
from typing import Final

from control_plane.domain.home import Home
from control_plane.fleet import campaigns
from control_plane.handlers.handler import Work
from control_plane.handlers.tenant_moves import tenant_now

_PAUSE_S: Final = 0.2
_TRIES_MAX: Final = 50
_PASSING: Final = frozenset({"database_busy", "database_unavailable", "commit_unknown"})


def bring_up(work: Work, home: Home | None = None) -> int:
    """Bring the run's tenant to the last migration in force, and write its receipts; which one that is.

    In force is what a campaign has begun: who comes while it is under way is not behind it. A
    repetition changes nothing. `home` is the database that is made, else the one that serves.
    Raises what applying raises.
    """
    with work.ports.store.read() as connection:
        last, found = campaigns.in_force(connection), campaigns.newest(connection)
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
    brought = bringing.bring(engine, tenant, made, work.epoch)
    for _ in range(_TRIES_MAX):
        # Where tenants share tables, a campaign may have them in hand.
        if brought.error is None or brought.error.code not in _PASSING:
            break
        time.sleep(_PAUSE_S)
        brought = bringing.bring(engine, tenant, made, work.epoch)
    if brought.error is not None:
        raise brought.error
    with work.ports.store.write(tenant) as inside:
        campaigns.settle(inside, brought.receipts)
    return last
