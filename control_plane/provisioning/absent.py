"""Stands where no Terraform was found: every run is told why, and nothing else of the worker suffers. Provisions nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from control_plane.domain.canonical import Json
from control_plane.errors import Unavailable
from control_plane.provisioning.drift import Drift
from control_plane.provisioning.port import Applied, ObservedPlan, Settled, Standing
from control_plane.provisioning.progress import Told, untold
from control_plane.provisioning.stacks import StackRequest


class AbsentProvisioner:
    """Raises Unavailable with the ways to get a Terraform, whatever is asked."""

    def __init__(self, cause: Unavailable) -> None:
        self._cause = cause

    def _refuse(self) -> NoReturn:
        raise Unavailable(str(self._cause), code="terraform_missing")

    def observe(
        self,
        request: StackRequest,
        *,
        destroy: bool = False,
        should_stop: Callable[[], bool] = bool,
    ) -> ObservedPlan:
        """Refused."""
        self._refuse()

    def apply(
        self,
        request: StackRequest,
        artifact: bytes,
        *,
        should_stop: Callable[[], bool] = bool,
        tell: Told = untold,
    ) -> Applied:
        """Refused."""
        self._refuse()

    def settle(self, request: StackRequest, *, should_stop: Callable[[], bool] = bool) -> Settled:
        """Refused."""
        self._refuse()

    def look(self, request: StackRequest, *, should_stop: Callable[[], bool] = bool) -> Standing:
        """Refused."""
        self._refuse()

    def drift(self, request: StackRequest, *, should_stop: Callable[[], bool] = bool) -> Drift:
        """Refused."""
        self._refuse()

    def destroy(
        self,
        request: StackRequest,
        *,
        should_stop: Callable[[], bool] = bool,
        tell: Told = untold,
    ) -> None:
        """Refused."""
        self._refuse()

    def outputs(self, request: StackRequest) -> dict[str, Json]:
        """Refused."""
        self._refuse()
