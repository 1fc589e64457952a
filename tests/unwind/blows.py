"""One kill of a worker that moves money, carried out: what follows it, and a look at all. Not the list."""

from __future__ import annotations

import signal
from datetime import timedelta
from functools import partial

from control_plane.domain.tenant import TENANT
from tests.support.elapsed import live
from tests.support.waiting import until
from tests.support.workers import running_worker
from tests.unwind.money import MOVES, Blow, Move
from tests.unwind.purse import NOTHING, Purse, assert_store_balanced, is_quiet, purse_of
from tests.unwind.site import Site
from tests.unwind.stock import RUNNING, Stock

QUIET_S = 60.0
_HOUR = timedelta(hours=1)
# An attempt that is in doubt is asked about after minutes, and one that never got out is tried again
# after some more: each hour another worker looks, until nothing is due by our own clock.
_HOURS = (-2 * _HOUR, -_HOUR, timedelta())


def strike(site: Site, stock: Stock, blow: Blow) -> None:
    """Kill the worker at the boundary; healthy ones go on, and what stands of the money is right."""
    move = MOVES[blow.move]
    tenant = _prepared(site, stock, move)
    if move.tool:
        _strike_run(site, move, blow, tenant)
    else:
        _strike_clock(site, move, blow, tenant)


def _prepared(site: Site, stock: Stock, move: Move) -> str:
    if move.past is None:
        return stock.name("paying")
    tenant = stock.take(*RUNNING).tenant
    live(site.house, tenant, move.past)
    return tenant


def _strike_run(site: Site, move: Move, blow: Blow, tenant: str) -> None:
    armed = [f"{blow.point}:1:kill"]
    if blow.undoes:
        armed.append(f"{move.kind}.{move.failing}:1:raise")
    before = NOTHING if move.past is None else purse_of(site, tenant)
    with running_worker(site.house, *site.worker_options(*armed)) as victim:

        def died() -> bool:
            return victim.process.poll() is not None

        run_id = site.propose(move.asked(site, tenant, before))
        run = site.follow(run_id, died)
        assert died(), f"{blow.point} was not reached: {run}"
        assert victim.process.returncode == -signal.SIGKILL
    with running_worker(site.house, *site.worker_options()):
        run = site.follow(run_id)
        until(partial(is_quiet, site, tenant), "billing comes to rest", QUIET_S)
    assert run.state == ("compensated" if blow.undoes or blow.doubts else "applied"), run
    assert [one.id for one in site.runs_of(tenant, move.kind)] == [run_id]
    _check(site, move, blow, tenant, before)


def _strike_clock(site: Site, move: Move, blow: Blow, tenant: str) -> None:
    before = purse_of(site, tenant)
    armed = site.worker_options(f"{blow.point}:1:kill")
    with running_worker(site.house, *armed, ahead=-3 * _HOUR) as victim:
        until(lambda: victim.process.poll() is not None, f"{blow.point} is reached", QUIET_S)
        assert victim.process.returncode == -signal.SIGKILL
    for ahead in _HOURS:
        with running_worker(site.house, *site.worker_options(), ahead=ahead):
            until(partial(is_quiet, site, tenant, ahead), "billing comes to rest", QUIET_S)
        if is_quiet(site, tenant):
            break
    _check(site, move, blow, tenant, before)


def _check(site: Site, move: Move, blow: Blow, tenant: str, before: Purse) -> None:
    """The money, the ledger, a stable tenant, and an audit log that vouches for its rows."""
    after = purse_of(site, tenant)
    move.holds(blow, before, after)
    assert_store_balanced(site)
    standing = site.tenant(tenant)
    assert standing is not None
    assert standing.state in TENANT.stable
    assert site.vouched(tenant), "a row is not as its last leaf says"
