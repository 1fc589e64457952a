"""How a passphrase comes in: from a file descriptor or a terminal. Never from an argument or the environment."""

from __future__ import annotations

import os
import sys

import typer

from control_plane.errors import BadInput

_BYTES_MAX = 1024
_STANDARD_DESCRIPTORS = (1, 2)


def read_passphrase(passphrase_fd: int | None, what: str, *, new: bool) -> bytes:
    """A passphrase without its line end; a new one is asked for twice at the terminal.

    Raises BadInput naming `--passphrase-fd` when there is neither a descriptor nor a terminal.
    """
    if passphrase_fd is not None:
        return _from_descriptor(passphrase_fd)
    if not sys.stdin.isatty():
        raise BadInput("--passphrase-fd", f"is needed for {what}: there is no terminal to ask at")
    asked: str = typer.prompt(
        f"Passphrase for {what}", hide_input=True, confirmation_prompt=new, err=True
    )
    return asked.encode()


def _from_descriptor(descriptor: int) -> bytes:
    if descriptor < 0 or descriptor in _STANDARD_DESCRIPTORS:
        raise BadInput("--passphrase-fd", "must name a descriptor that can be read")
    content = b""
    try:
        while len(content) <= _BYTES_MAX and b"\n" not in content:
            part = os.read(descriptor, _BYTES_MAX + 1 - len(content))
            if not part:
                break
            content += part
    except OSError:
        raise BadInput("--passphrase-fd", "must name a descriptor that can be read") from None
    line = content.split(b"\n", 1)[0].removesuffix(b"\r")
    if len(content) > _BYTES_MAX or not line:
        raise BadInput("--passphrase-fd", f"must give one line of 1 to {_BYTES_MAX} bytes")
    return line
