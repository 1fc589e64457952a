"""A worker proves, once for each catalog, which policies over rows are exact as filters. Not the proof, nor what it opens."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from typing import Final

from control_plane.domain.caller import ROLES, Role
from control_plane.domain.canonical import instant
from control_plane.errors import PaybillError
from control_plane.handlers.exactness import keep_proved, proved_exact
from control_plane.handlers.handler import Ports
from graphs.gatekeeper import Gate, Gatekeeper
from graphs.row_proof import proof_callers, prove
from server.catalog import Catalog

# The same rows each time: what was proved is proved again.
SEED: Final = "paybill"
# A worker's faces wait for it: fewer rows than `catalog check` takes, and an end.
_ROWS_MAX: Final = 200
_BUDGET_S: Final = 15.0
_WORD = re.compile(r"\w+")
_LOG = logging.getLogger("paybill.worker")


def prove_once(ports: Ports, catalog: Catalog, gate: Gate) -> None:
    """Prove the catalog in force, as far as that is not written; where it cannot be, go on without.

    Within a bound: a worker that is waited for comes first, and the next one goes on with the rest.
    """
    if not catalog.row_rules:
        return
    try:
        with ports.store.read() as connection:
            known = proved_exact(connection, catalog.digest)
        left = sorted(set(catalog.row_rules) - set(known))
        if not left:
            return
        exact = {**known, **_proved(catalog, gate, left)}
        with ports.store.write() as connection:
            now = instant(ports.clock.now())
            keep_proved(connection, ports.recorder, catalog.digest, exact, now)
    except PaybillError as error:
        _LOG.warning("the policies over rows could not be proved now: %s", error.code)


def named_roles(texts: Iterable[str]) -> list[Role]:
    """The roles that policies name at all: every other one is to them as no role is."""
    words = {word for text in texts for word in _WORD.findall(text)}
    return [role for role in ROLES if role in words]


def _proved(catalog: Catalog, gate: Gate, names: Iterable[str]) -> dict[str, bool]:
    assert catalog.policy_folder is not None, "rules over rows stand in policies"
    texts = [file.read_text() for file in sorted(catalog.policy_folder.glob("*.yaml"))]
    callers, keeper = proof_callers(named_roles(texts)), Gatekeeper(gate)
    exact: dict[str, bool] = {}
    end_s = time.monotonic() + _BUDGET_S
    for name in names:
        if time.monotonic() >= end_s:
            _LOG.warning("not all policies over rows were proved: the rest at the next start")
            break
        fields = catalog.row_rules[name]
        found = prove(catalog.collections[name], fields, keeper, callers, SEED, _ROWS_MAX)
        exact[name] = found.exact
        wrong = {one.rule for one in found.differences} | {one.rule for one in found.misspelt}
        for rule in sorted(wrong):
            _LOG.warning("%s is not exact as a filter: no sum and no bulk change by it", rule)
    return exact
