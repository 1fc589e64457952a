"""What failed checks of a cloud mean for a run. Not the checks."""

from __future__ import annotations

from collections.abc import Iterable

from control_plane.errors import Refused
from control_plane.provisioning.clouds.port import Check

ROOM = "quota"


def require(checks: Iterable[Check], *, makes: bool) -> None:
    """Refused (`preflight_failed`) at the first check that failed.

    Room matters only where a plan `makes` something: what stands has its place already.
    """
    for one in checks:
        if not one.ok and (makes or one.name != ROOM):
            raise Refused(
                f"The cloud cannot take the stack: {one.about}: {one.said}.",
                code="preflight_failed",
                rule=f"preflight.{one.name}",
            )
