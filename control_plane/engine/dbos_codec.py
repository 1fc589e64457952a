"""What DBOS may read from and write to its rows: JSON alone. Not a general serialiser: no pickle.

DBOS unpickles every row that is labelled so, whatever serialiser it was given: whoever can write a
row could run code in the worker. `refuse_pickle` shuts that door for the life of the process.
"""

from __future__ import annotations

import json
from typing import Final, NoReturn

from control_plane.errors import Failed, Refused, Unavailable

LABEL: Final = "paybill_json"
_ERROR = "__error__"
_MARK = "a row labeled as pickle is never read"


class RoutineFailed(Failed):
    """A routine ended with an exception; `kind` is the exception's class name, never its text."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"the routine ended with {kind}", code="routine_failed")
        self.kind = kind


class JsonCodec:
    """The serialiser that DBOS is given: text, numbers, lists, mappings, and errors by class name.

    An error must have a form, or the workflow that raised it would hold its partition for ever.
    """

    def name(self) -> str:
        """Return the label of the rows this codec writes."""
        return LABEL

    def serialize(self, data: object) -> str:
        """Return JSON text of `data`; TypeError for what JSON has no form for."""
        if isinstance(data, RoutineFailed):
            return json.dumps({_ERROR: [data.kind]})
        if isinstance(data, BaseException):
            return json.dumps({_ERROR: [type(data).__name__]})
        return json.dumps(data, allow_nan=False)

    def deserialize(self, serialized_data: str) -> object:
        """Return the value of JSON text, an error as RoutineFailed; ValueError for other text."""
        value: object = json.loads(serialized_data)
        match value:
            case {"__error__": [str(kind)]}:
                return RoutineFailed(kind)
            case _:
                return value


def _refuse(*_: object) -> NoReturn:
    raise Refused(_MARK, code="pickle_refused")


def refuse_pickle() -> None:
    """Make DBOS unable to unpickle, for good. Unavailable: this DBOS has no such place to shut."""
    try:
        # No public place shuts the pickles out; and importing dbos takes a second.
        from dbos import _serialization as place  # pyright: ignore[reportPrivateUsage]
    except ImportError as error:
        raise Unavailable("the job engine's library is not there") from error
    unpickler: object = getattr(place, "DefaultSerializer", None)
    shared: object = getattr(place, "DBOSDefaultSerializer", None)
    if not isinstance(unpickler, type) or "deserialize" not in vars(unpickler):
        raise Unavailable("the job engine's library has changed: its pickles cannot be refused")
    setattr(unpickler, "deserialize", _refuse)  # noqa: B010 -- a typed assignment is refused
    if getattr(type(shared), "deserialize", None) is not _refuse:
        raise Unavailable("the job engine's library has changed: its pickles cannot be refused")
