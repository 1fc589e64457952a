"""A plan's monthly charge in one currency. Holds no test."""

from __future__ import annotations

from control_plane.domain.charge import Charge
from control_plane.domain.prices import Flat

MONTHLY = Charge(interval="month", prices=(Flat(model="flat", currency="USD", amount_minor=500),))
