"""How a face is told to end: by signals, from its first line on. Not what it does then."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

import anyio

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Told once, then kept: a face that is ended while it starts finds it when it begins to serve.

    Nothing is raised where a signal falls. That can be inside a callback or a finaliser, where
    Python drops what is raised: the face would go on and had used up its signal. A second signal
    before it serves ends the process as the system would.
    """

    def __init__(self) -> None:
        """Listen from now on; in the main thread."""
        self._is_told = False
        for number in _SIGNALS:
            signal.signal(number, self._tell)

    async def each(self, act: Callable[[], None]) -> None:
        """Do that for every signal, also for one that came before; until cancelled."""
        # The loop listens before we look: a signal between the two reaches one of them.
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            if self._is_told:
                act()
            async for _ in signals:
                act()

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        self._is_told = True
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
