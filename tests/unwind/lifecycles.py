"""Each lifecycle as it is killed: from where it starts, what asks for it, and what must stand at its end. Not its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control_plane.domain.isolation import Isolation
from tests.unwind.standing import RESOURCES, Standing, whole


@dataclass(frozen=True)
class Asked:
    """A call that proposes a run."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Described:
    """One lifecycle. `before` names the one that leaves a tenant where this one starts."""

    kind: str
    before: str | None
    given: dict[str, Any]
    failing: str
    """The boundary of a step at which a fault makes the run take back all that it has done."""
    tool: str = ""
    """The one that asks for it, where it is not named as the lifecycle of a tenant."""

    def asked(self, tenant: str, model: Isolation) -> Asked:
        """The call, always with the same key, as from an agent that repeats it."""
        named = {"isolation": model, "display_name": tenant} if self.before is None else {}
        arguments = {"tenant": tenant, "idempotency_key": f"{self.kind}-{tenant}"}
        return Asked(self.tool or f"tenant_{self.kind}", {**arguments, **self.given, **named})

    @property
    def fault(self) -> str:
        """The fault that is armed, so that the boundaries of undoing are reached."""
        return f"{self.kind}.{self.failing}:1:raise"


LEADS = {"op": "eq", "field": "status", "value": "lead"}
CHANGED = 9

DESCRIBED = {
    one.kind: one
    for one in (
        Described("onboard", None, {"plan": "team"}, "activate.before"),
        Described("suspend", "onboard", {"reason": "operator"}, "finish.before"),
        Described("resume", "suspend", {"reason": "operator"}, "activate.before"),
        # Behind it nothing is undone: a fault there names what is left.
        Described("offboard", "onboard", {"cancel_subscription": True}, "drop_database.before"),
        Described("restore", "offboard", {}, "activate.before"),
        Described(
            "change_records",
            "onboard",
            {"collection": "contacts", "filter": LEADS, "values": {"balance": CHANGED}},
            "finish.before",
            "record_bulk_update",
        ),
        Described("drift_check", "onboard", {}, "note.before", "drift_check"),
        Described("database_backup", "onboard", {}, "finish.before", "database_backup"),
    )
}


def expected(
    kind: str, store: str, model: Isolation, data: tuple[Any, ...], *, undone: bool
) -> Standing:
    """What stands after a run that went to its end, or that was undone to the bottom."""
    there: dict[str, Any] = {
        "resources": RESOURCES[model],
        "database": whole(store, model),
        "data": data,
    }
    away: dict[str, Any] = {"resources": 0, "database": (), "data": (), "open": "shut"}
    active = {"state": "active", "access": "full", "reasons": (), "open": "open", **there}
    shut = {
        "state": "suspended",
        "access": "none",
        "reasons": ("operator",),
        "open": "shut",
        **there,
    }
    resting = {"state": "deprovisioned", "access": "none", "reasons": (), **away}
    never = {"state": "provision_failed", "access": "full", "reasons": (), **away}
    ends: dict[tuple[str, bool], dict[str, Any]] = {
        ("onboard", False): active | {"gone": 0},
        ("onboard", True): never | {"gone": 1},
        ("suspend", False): shut | {"gone": 0},
        ("suspend", True): active | {"gone": 0},
        ("resume", False): active | {"gone": 0},
        ("resume", True): shut | {"gone": 0},
        ("offboard", False): resting | _BACKED_UP | {"gone": 1, "restorable": True},
        # Taken back, it stays shut, and what was backed up stays so.
        ("offboard", True): shut | _BACKED_UP | {"gone": 0},
        ("drift_check", False): active | {"gone": 0},
        ("drift_check", True): active | {"gone": 0},
        ("database_backup", False): active | {"gone": 0, "backups": (1, 1)},
        # What was not proven to its end does not stay.
        ("database_backup", True): active | {"gone": 0},
        ("change_records", False): active | {"gone": 0},
        ("change_records", True): active | {"gone": 0},
        ("restore", False): active | _BACKED_UP | {"made": 2, "gone": 1, "protected": True},
        ("restore", True): resting | _BACKED_UP | {"made": 2, "gone": 2, "restorable": True},
    }
    common: dict[str, Any] = {
        "made": 1,
        "backups": (0, 0),
        "restorable": False,
        "protected": True,
    }
    return Standing(**{**common, **ends[kind, undone]})


# Protection was lifted from what is to be offboarded.
_BACKED_UP: dict[str, Any] = {"backups": (1, 1), "protected": False}


def assert_changed(before: tuple[Any, ...], now: tuple[Any, ...], *, undone: bool) -> None:
    """What a change leaves of a tenant's records, and the proofs that it was written once."""
    rows, proofs = _parted(now)
    was, known = _parted(before)
    # Done, and where it was taken back that too: each once.
    assert len(proofs) == len(known) + (2 if undone else 1), proofs
    assert set(known) < set(proofs)
    told = {"version": 3} if undone else {"version": 2, "balance": CHANGED}
    assert rows == [{**row, **told} for row in was]


def _parted(data: tuple[Any, ...]) -> tuple[list[dict[str, Any]], list[Any]]:
    """The records by column, in the order of their ids, and the proofs."""
    rows = [one._asdict() for one in data if "full_name" in one._fields]
    return sorted(rows, key=lambda row: str(row["id"])), [
        tuple(one) for one in data if "full_name" not in one._fields
    ]
