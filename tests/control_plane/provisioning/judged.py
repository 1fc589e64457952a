"""One resource as a plan tells it, for the tests of what is judged. Not a whole plan."""

from __future__ import annotations

from typing import Any

from control_plane.provisioning.planned import Planned, planned

LABELS = {"paybill_tenant": "acme", "paybill_workspace": "0a1b2c3d"}


def one(
    kind: str,
    after: dict[str, Any] | None,
    *,
    unknown: dict[str, Any] | None = None,
    given: dict[str, Any] | None = None,
    before: dict[str, Any] | None = None,
    actions: tuple[str, ...] = ("create",),
    told: bool = True,
) -> Planned:
    """A resource `<kind>.x`; what is known is given as constants unless `given` says otherwise."""
    constants = {name: {"constant_value": value} for name, value in (after or {}).items()}
    expressions = constants if given is None else given
    configured = [{"address": f"{kind}.x", "mode": "managed", "expressions": expressions}]
    (found,) = planned(
        {
            "resource_changes": [
                {
                    "address": f"{kind}.x",
                    "mode": "managed",
                    "type": kind,
                    "name": "x",
                    "provider_name": "p",
                    "change": {
                        "actions": list(actions),
                        "before": before,
                        "after": after,
                        "after_unknown": unknown or {},
                    },
                }
            ],
            "configuration": {"root_module": {"resources": configured if told else []}},
        }
    )
    return found
