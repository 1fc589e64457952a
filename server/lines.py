"""Lines over a byte stream, each within a bound. Knows nothing of what they say."""

from __future__ import annotations

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream


class LineTooLong(Exception):
    """A line goes past its bound; what follows on the stream has no meaning any more."""


class Lines:
    """Reads and writes whole lines. A peer that does not read is given up after ``write_s``."""

    def __init__(self, stream: ByteStream, write_s: float) -> None:
        self._stream = stream
        self._reading = BufferedByteReceiveStream(stream)
        self._write_s = write_s

    async def read(self, bytes_max: int) -> bytes | None:
        """The next line without its end; None when the peer has closed. Raises LineTooLong."""
        try:
            line = await self._reading.receive_until(b"\n", bytes_max)
        except anyio.DelimiterNotFound:
            raise LineTooLong from None
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return None
        # The buffer may have grown past the bound in the same read that brought the line's end.
        if len(line) > bytes_max:
            raise LineTooLong
        return line

    async def write(self, line: bytes) -> None:
        """Send one line. Raises TimeoutError, BrokenResourceError."""
        with anyio.fail_after(self._write_s):
            await self._stream.send(line + b"\n")
