"""What a plan shows, and policy is told, of the difference between two kept catalogs. Not the comparison itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from control_plane.data.moves import Move, Phase
from control_plane.domain.canonical import Json
from control_plane.errors import Refused, Unavailable
from control_plane.ports import Compared, Store
from policies.errors import BundleError, GateError
from server.catalog import load_kept
from server.catalog_changes import CatalogChanges, changes_between, dialect_of, with_voided
from server.workspace import Workspace

SHOWN_MAX: Final = 200
"""How many entries of each list a plan shows; of the rest it tells the number."""
STATEMENT_CHARS_MAX: Final = 400


def compared(
    workspace: Workspace, program: Callable[[], Path], store: Store, before: str, after: str
) -> Compared:
    """Two kept catalogs by their digests; ``program`` finds the policy engine.

    ``parts`` has one part, ``catalog``; each of its lists is `{"shown": [...], "left_out": count}`.
    The same two catalogs, with the same runs waiting, give the same. Raises Unavailable
    (`catalog_absent`, `catalog_altered`, or that no engine answers), Refused where the policies of
    one make no bundle.
    """
    sides = load_kept(workspace.catalogs, before), load_kept(workspace.catalogs, after)
    try:
        found = changes_between(*sides, program, dialect_of(workspace))
    except BundleError as error:
        raise Refused(str(error), code="bundle_error") from error
    except GateError as error:
        raise Unavailable(str(error), code="policy_engine_unavailable") from error
    found = with_voided(found, store)
    return Compared(parts={"catalog": _part(found)}, facts=_facts(found))


def _part(found: CatalogChanges) -> dict[str, Json]:
    return {
        "before": asdict(found.before),
        "after": asdict(found.after),
        # First what is lost: were there too many, it is not that which is left out.
        "moves": _bounded([_move(one) for one in sorted(found.evolution.moves, key=_graver)]),
        "declared_otherwise": _bounded([*found.told]),
        "offers": _bounded([asdict(one) for one in found.offers]),
        "coupons": _bounded([asdict(one) for one in found.coupons]),
        "tax": None if found.tax is None else asdict(found.tax),
        "rights": _bounded([asdict(one) for one in found.rights]),
        "voided": _bounded([asdict(one) for one in found.voided]),
        "dialect": found.dialect,
        "statements": {
            "expand": _statements(found, "expand"),
            "contract": _statements(found, "contract"),
        },
    }


def _facts(found: CatalogChanges) -> dict[str, Json]:
    return {
        "moves": len(found.evolution.moves),
        "refused_moves": len(found.evolution.refused),
        "loses_data": found.evolution.loses_data,
        "policies_changed": found.before.bundle != found.after.bundle,
        "rights_changed": len(found.rights),
        "plans_dropped": sum(one.change == "dropped" for one in found.offers),
        "voided": len(found.voided),
    }


def _graver(move: Move) -> tuple[bool, bool, tuple[int, str, str, str, tuple[str, ...]]]:
    return not move.loses_data, move.phase != "refused", move.order()


def _move(move: Move) -> Json:
    return {
        "name": move.name,
        "phase": move.phase,
        "kind": move.kind,
        "loses_data": move.loses_data,
        "message": move.message,
    }


def _statements(found: CatalogChanges, phase: Phase) -> Json:
    texts = [one.text for one in found.statements if one.phase == phase]
    return _bounded([_cut(text) for text in texts])


def _cut(text: str) -> str:
    return text if len(text) <= STATEMENT_CHARS_MAX else f"{text[:STATEMENT_CHARS_MAX]}…"


def _bounded(entries: Sequence[Json]) -> Json:
    return {"shown": [*entries[:SHOWN_MAX]], "left_out": max(0, len(entries) - SHOWN_MAX)}
