"""What moving a tenant's rows asks of the database they leave and of the one they come to. Not an engine."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from control_plane.data.collection import Collection
from control_plane.data.moving_parts import Part
from control_plane.data.team_shape import TeamShape

READ_ONLY: Final = "paybill: read-only"
"""What a writer is told, whoever it is, while a tenant is frozen."""


@dataclass(frozen=True, slots=True)
class Noted:
    """The entries of the outbox that one snapshot shows, and which rows they name, by table."""

    entries: Sequence[int]
    keys: Mapping[str, AnyCollection[str]]


class Survey(Protocol):
    """One snapshot of a tenant's place: its rows, and the outbox as it was with just these rows."""

    @property
    def connection(self) -> Connection:
        """It reads the snapshot, and cannot write."""
        ...

    @property
    def raw_format(self) -> str | None:
        """What `raw_rows` are written in; None where there are none."""
        ...

    def level(self) -> str:
        """A digest of the migrations that the place has had, as `team` tells it."""
        ...

    def team(self) -> TeamShape:
        """The tables of the team's own, as they stand there."""
        ...

    def noted(self) -> Noted:
        """What the outbox holds. Raises Refused (`not_captured`; `capture_lost`: see `capture`)."""
        ...

    def raw_rows(self, part: Part, keys: Sequence[str] | None = None) -> Iterator[bytes]:
        """The tenant's rows, or those of the keys, each as one line, in no order."""
        ...


class Writing(Protocol):
    """A write transaction in a closed place, past its freeze; what it changes is not noted there."""

    @property
    def connection(self) -> Connection:
        """Its constraints between rows are looked at when it commits."""
        ...

    @property
    def raw_format(self) -> str | None:
        """What `put_raw` takes; None where it takes nothing."""
        ...

    def put_rows(self, part: Part, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, typed as the columns are. Raises ValueError where a column takes no such value."""
        ...

    def put_raw(self, part: Part, lines: Sequence[bytes]) -> None:
        """Add rows as `raw_rows` gave them."""
        ...


class MovingEnd(Protocol):
    """A tenant's place for one run, which holds it at an epoch.

    Every method may raise NotFound, Unavailable and Failed as an engine does, and those that change
    anything Refused (`fenced`) once a later run has been there.
    """

    def capture(self, collections: Sequence[Collection]) -> None:
        """Note the key of every row that is added, changed or removed from now on, whoever does.

        What was changed before is committed when it returns, and seen by every later survey. Again,
        or after a kill, it changes nothing. Calls and writers go on. Raises Unavailable
        (`database_busy`) where a transaction keeps a table for too long; Refused (`capture_lost`)
        where a table that was captured no longer is: what was copied is of no use, and `release`
        comes first.
        """
        ...

    def release(self) -> None:
        """Note nothing, freeze nothing, and leave nothing of either; again changes nothing."""
        ...

    def freeze(self, patience_ms_max: int) -> None:
        """Close the fence, and let no transaction commit a change of the rows, whoever makes it.

        Who writes is waited for `patience_ms_max`, and then ended where that is possible; else
        Unavailable (`database_busy`), and nothing is frozen. Writers are told READ_ONLY; reads go
        on. Raises Refused (`not_captured`).
        """
        ...

    def thaw(self, *, open: bool) -> None:
        """Let rows be written again, and by our own calls if `open`; again changes nothing."""
        ...

    def surveying(self) -> AbstractContextManager[Survey]:
        """One snapshot for as long as the block."""
        ...

    def writing(self) -> AbstractContextManager[Writing]:
        """One transaction that commits at the end. Raises Refused (`target_open`)."""
        ...

    def strike(self, entries: Sequence[int]) -> None:
        """Take exactly these entries from the outbox."""
        ...
