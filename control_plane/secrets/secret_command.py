"""Secrets behind a program of the user's own: the door to a secret manager. Not the manager.

It is told on stdin with one JSON object: `{"operation": "put", "reference": …, "secret": …}` or
`{"operation": "drop", "reference": …}`, and says by ending well that it has done so. A secret is never
on its command line, nor in its environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from control_plane.domain.canonical import canonical
from control_plane.errors import Unavailable
from control_plane.secrets.exchange import ProgramFailed, exchange
from control_plane.secrets.secret_place import check_reference


class SecretCommand:
    """SecretPlace that asks `argv`, which has `deadline_s` to end."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], deadline_s: float
    ) -> None:
        self._argv = tuple(argv)
        self._environment = environment
        self._deadline_s = deadline_s

    def put(self, reference: str, secret: str) -> None:
        """Have it keep the secret. Raises Unavailable."""
        self._tell({"operation": "put", "reference": check_reference(reference), "secret": secret})

    def drop(self, reference: str) -> None:
        """Have it forget the secret; again changes nothing. Raises Unavailable."""
        self._tell({"operation": "drop", "reference": check_reference(reference)})

    def _tell(self, question: dict[str, str]) -> None:
        told = canonical(question) + b"\n"
        try:
            exchange(self._argv, told, self._environment, self._deadline_s)
        except ProgramFailed:
            # What it said is nobody's: it was told a secret.
            raise Unavailable(
                "The program for services' credentials failed.", code="secret_place"
            ) from None
