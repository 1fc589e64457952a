"""Which tools lift a refusal, by its code. Not who may call them: only what a caller may list is told."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_DEBTS: Final = ("invoice_list", "payment_retry", "payment_method_set", "subscription_get")

LIFTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "billing_read_only": _DEBTS,
        "billing_suspended": _DEBTS,
        "payment_overdue": _DEBTS,
        "payment_declined": ("payment_method_set", "payment_retry", "invoice_list"),
        "payment_method_required": ("payment_method_set",),
        "tax_unknown": ("billing_details_set",),
        "seats_full": ("seat_list", "subscription_preview_change", "plan_list"),
    }
)
