"""What a customer has to do before a payment is collected, as results tell it. Not a tool."""

from __future__ import annotations

from tools.spec import Result


class PaymentActionResult(Result):
    """Which invoice waits, and until when. The page is the provider's; null where it gives none."""

    invoice: str
    provider: str
    reference: str | None
    url: str | None
    since: str
    until: str
