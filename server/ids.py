"""Random ids from the operating system. Not the ids of planned things: those derive from a seed."""

from __future__ import annotations

from uuid import uuid4


class RandomIds:
    """The adapter of the port `Ids`."""

    def seed(self) -> str:
        """A fresh random UUID, as text."""
        return str(uuid4())

    def new(self) -> str:
        """A fresh random id of 32 hexadecimal digits."""
        return uuid4().hex
