"""A key-encryption key behind a program of the user's own: the door to a key service. Not the service.

It is asked on stdin and answers on stdout, each time with one JSON object:
`{"operation": "wrap", "reference": …, "context": …, "key": …}` is answered by `{"wrapped": …}`,
`{"operation": "unwrap", …, "wrapped": …}` by `{"key": …}`; bytes travel in base64. A data key is
never on its command line, nor in its environment.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from control_plane.domain.canonical import canonical
from control_plane.errors import Unavailable
from control_plane.secrets.exchange import ProgramFailed, exchange
from control_plane.secrets.key_encryption import WRAPPED_BYTES_MAX, refused

_REFUSED: Final = "refused"


class CommandKek:
    """Asks `argv`, which has `deadline_s` to answer; `reference` says which key of the service it is."""

    def __init__(
        self,
        argv: Sequence[str],
        reference: str,
        environment: Mapping[str, str],
        deadline_s: float,
    ) -> None:
        self._argv = tuple(argv)
        self._named = reference
        self._environment = environment
        self._deadline_s = deadline_s
        self.reference = f"command:{reference}"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """The key as the service wraps it. Raises Unavailable (`kek_unavailable`)."""
        wrapped = self._asked("wrap", context, "key", key, "wrapped")
        if not 0 < len(wrapped) <= WRAPPED_BYTES_MAX or key in wrapped:
            # A program that hands the key back has wrapped nothing.
            raise _no_answer()
        return wrapped

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key. Raises Refused (`kek_refused`), Unavailable (`kek_unavailable`)."""
        return self._asked("unwrap", context, "wrapped", wrapped, "key")

    def _asked(
        self, operation: str, context: bytes, given: str, content: bytes, wanted: str
    ) -> bytes:
        question = {
            "operation": operation,
            "reference": self._named,
            # A service takes a bounded text for it: the digest stands for the whole.
            "context": _text(hashlib.sha256(context).digest()),
            given: _text(content),
        }
        asked = canonical(question) + b"\n"
        try:
            told = exchange(self._argv, asked, self._environment, self._deadline_s)
        except ProgramFailed as error:
            raise Unavailable(f"the program for keys {error}", code="kek_unavailable") from None
        return _read(told, wanted)


def _read(told: bytes, wanted: str) -> bytes:
    try:
        answer = json.loads(told)
    except (ValueError, RecursionError):
        raise _no_answer() from None
    if not isinstance(answer, dict):
        raise _no_answer()
    found = cast("dict[str, object]", answer)
    if found.get("error") == _REFUSED:
        raise refused()
    value = found.get(wanted)
    if not isinstance(value, str):
        raise _no_answer()
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise _no_answer() from None


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _no_answer() -> Unavailable:
    return Unavailable("what the program for keys says is no answer", code="kek_unavailable")
