"""What a handler sees of the workspace's catalog, as it was applied. Not the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from control_plane.billing.tax_file import Taxation
from control_plane.data.collection import Collection
from control_plane.domain.coupon_catalog import CouponCatalog
from control_plane.domain.plans import PlanCatalog
from control_plane.fleet.migration_file import Migration


class Catalog(Protocol):
    """What the workspace declares, as it was applied."""

    @property
    def digest(self) -> str:
        """SHA-256 over everything declared."""
        ...

    @property
    def plans(self) -> PlanCatalog:
        """The plans on offer."""
        ...

    @property
    def coupons(self) -> CouponCatalog:
        """The coupons that may be redeemed."""
        ...

    @property
    def tax(self) -> Taxation | None:
        """How what is billed is taxed; None where it is not."""
        ...

    @property
    def stacks(self) -> Mapping[tuple[str, str], Path]:
        """The workspace's own stacks, by cloud and isolation model."""
        ...

    @property
    def collections(self) -> Mapping[str, Collection]:
        """The declared collections, by name."""
        ...

    @property
    def migrations(self) -> tuple[Migration, ...]:
        """The changes of tenants' databases that the team has written, in order."""
        ...

    @property
    def row_rules(self) -> Mapping[str, frozenset[str]]:
        """Of each collection whose rows have a policy of their own, the fields that it names."""
        ...
