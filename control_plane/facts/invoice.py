"""The facts of a tenant's invoices that policy decides on. Not what stands on them."""

from __future__ import annotations

from typing import ClassVar

from control_plane.facts.base import Facts


class InvoiceFacts(Facts):
    """Kind ``invoice``: one of them; with an empty state, a tenant's own as a whole, those to come too."""

    kind: ClassVar[str] = "invoice"

    exists: bool
    member: bool
    state: str = ""
    overdue: bool = False
