"""The list of the domain's machines, by name. Not where any of them is defined."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from control_plane.domain.approval import APPROVAL
from control_plane.domain.campaign import CAMPAIGN
from control_plane.domain.database import DATABASE
from control_plane.domain.delivery import DELIVERY
from control_plane.domain.effect import EFFECT
from control_plane.domain.invoice import INVOICE
from control_plane.domain.machine import Machine
from control_plane.domain.payment import PAYMENT
from control_plane.domain.refund import REFUND
from control_plane.domain.run import RUN
from control_plane.domain.subscription import SUBSCRIPTION
from control_plane.domain.tenant import TENANT

MACHINES: Mapping[str, Machine] = MappingProxyType(
    {
        machine.name: machine
        for machine in (
            TENANT,
            SUBSCRIPTION,
            INVOICE,
            PAYMENT,
            REFUND,
            DELIVERY,
            RUN,
            APPROVAL,
            EFFECT,
            DATABASE,
            CAMPAIGN,
        )
    }
)
