"""The machine's clock. Not a source of planned instants: those come from the call record."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """The adapter of the port `Clock`."""

    def now(self) -> datetime:
        """This instant, aware, in UTC."""
        return datetime.now(UTC)
