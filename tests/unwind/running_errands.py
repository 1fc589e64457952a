"""One errand carried out: a process killed at a boundary, another that brings the run to its end, a look at all. Not the list."""

from __future__ import annotations

import signal
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from tests.support.house import fresh_key
from tests.support.workers import running_worker
from tests.unwind.engines import assert_no_lock
from tests.unwind.errands import KINDS, After, Errand
from tests.unwind.estate import Estate, served, survey, whole
from tests.unwind.ledger import Told, write_by_call, write_directly
from tests.unwind.lifecycles import Asked

if TYPE_CHECKING:
    from tests.unwind.site import Site
    from tests.unwind.travellers import Traveller, Travellers


def run_errand(site: Site, travellers: Travellers, errand: Errand) -> None:
    """Kill the worker at the boundary; a healthy one goes on, and what stands is right."""
    traveller = travellers.take(errand)
    before = survey(site, traveller.tenant)
    assert before == replace(before, **whole(site, before)), "it does not start from what is whole"
    assert before.at("serving").told.records == traveller.ledger.sums()
    run_id = _propose_to_victim(site, errand, traveller, before)
    if errand.kind == "move":
        written = write_directly(site, traveller.tenant, traveller.ledger)
        assert errand.undoes or written is not errand.is_frozen
    told = Told(traveller.ledger.sums(), before.at("serving").told.beside)
    with running_worker(site.house, *site.worker_options()):
        site.follow(run_id)
        _check(site, After(site, errand, traveller, before, told), run_id)
        if errand.kind == "database_restore" and not errand.undoes:
            traveller.stands_again(before.home, errand.goes_back)
        _assert_in_use(site, traveller)
    travellers.give(traveller)


def _propose_to_victim(site: Site, errand: Errand, traveller: Traveller, before: Estate) -> str:
    kind = KINDS[errand.kind]
    armed = [f"{errand.point}:1:kill"]
    if errand.undoes:
        armed.append(f"{errand.kind}.{kind.failing}:1:raise")
    given = kind.given(errand, traveller, before)
    asked = {"tenant": traveller.tenant, "idempotency_key": fresh_key(), **given}
    with running_worker(site.house, *site.worker_options(*armed)) as victim:

        def died() -> bool:
            return victim.process.poll() is not None

        run_id = site.propose(Asked(kind.tool, asked))
        run = site.follow(run_id, died)
        assert died(), f"{errand.point} was not reached: {run}"
        assert victim.process.returncode == -signal.SIGKILL
    return run_id


def _check(site: Site, after: After, run_id: str) -> None:
    """One run, one effect, each row once, nothing half made, and an audit log that vouches for its rows."""
    errand, tenant = after.errand, after.traveller.tenant
    run = site.run(run_id)
    assert run.state == ("compensated" if errand.undoes else "applied"), run
    expected = KINDS[errand.kind].after(after)
    seen = survey(site, tenant)
    for is_there, must_be in zip(seen.stands, expected.stands, strict=True):
        assert asdict(is_there) == asdict(must_be)
    assert asdict(seen) == asdict(replace(expected, **whole(site, expected)))
    assert site.vouched(tenant), "a row is not as its last leaf says"
    assert_no_lock(site)


def _assert_in_use(site: Site, traveller: Traveller) -> None:
    """Calls and others write where the tenant stands, and what they wrote is there once."""
    tenant = traveller.tenant
    assert served(site, tenant).records == traveller.ledger.sums()
    write_by_call(site, tenant, traveller.ledger)
    assert write_directly(site, tenant, traveller.ledger)
    assert served(site, tenant).records == traveller.ledger.sums()
