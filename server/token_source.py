"""Where a stdio face's token comes from: the environment or a file, read again when it changes. Verifies nothing."""

from __future__ import annotations

from pathlib import Path

from control_plane.domain.caller import Caller
from control_plane.ports import Clock
from server.private_files import read_own_file
from server.settings import Settings
from server.tokens import Identify, Unauthenticated

_TOKEN_BYTES_MAX = 16_384


class TokenSource:
    """The caller of this process, made anew on each call: the grant row decides, not this object."""

    def __init__(
        self, identify: Identify, clock: Clock, settings: Settings, file: Path | None
    ) -> None:
        self._identify = identify
        self._clock = clock
        self._settings = settings
        self._file = file or settings.token_file

    def caller(self) -> Caller:
        """Raises Unauthenticated when there is no token, or it does not hold."""
        return self._identify.verify(self._token(), self._clock.now())

    def _token(self) -> str:
        if self._file is not None:
            try:
                content = read_own_file(self._file, bytes_max=_TOKEN_BYTES_MAX, closed=True)
            except FileNotFoundError:
                raise Unauthenticated("token_absent") from None
            return content.decode("ascii", "replace").strip()
        if self._settings.token is None:
            raise Unauthenticated("token_absent")
        return self._settings.token.get_secret_value()
