"""Somebody who writes a tenant's rows past us, and what the rows must be by then. Holds no test."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Engine, NullPool, create_engine, delete, event, insert, update
from sqlalchemy.exc import DBAPIError

from control_plane.data.moving_ends import READ_ONLY
from control_plane.databases.postgres_sessions import Entries
from tests.support.moving_spots import NOTE, NOW, PERSON, Spot, files_of, person, place_of
from tests.support.moving_team import BOARD, CARD, card
from tests.support.rows import row_id

Op: TypeAlias = tuple[str, int, int]
OPS: Final = (
    *("add", "rename", "drop", "again", "rekey", "boss", "swap", "note", "unnote"),
    *("board", "card", "rekeyed", "uncard"),
)
PEOPLE_MAX: Final = 6


@dataclass
class Ledger:
    """What the rows are, as far as what was committed tells: kept outside of any database."""

    people: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    notes: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    boards: dict[int, str] = field(default_factory=dict[int, str])
    # By number: which board, and how often its key has changed.
    cards: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])

    def refers(self, number: int) -> bool:
        """Whether any other row refers to the person."""
        bosses = (one["boss"] for key, one in self.people.items() if key != number)
        return number in bosses or number in (one["person"] for one in self.notes.values())

    def told(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """By table and key, what `seen` gives of rows."""
        people = {
            row_id(key): (one["name"], one["badge"], one["boss"] and row_id(one["boss"]))
            for key, one in self.people.items()
        }
        notes = {
            row_id(100 + key): (one["text"], row_id(one["person"]))
            for key, one in self.notes.items()
        }
        boards = {f"b/{key}": (label,) for key, label in self.boards.items()}
        cards = {
            f"{_at(key, turn)}/{_card_id(key)}": (str(board),)
            for key, (board, turn) in self.cards.items()
        }
        return {"people": people, "notes": notes, "board": boards, "card": cards}


def seen(spot: Spot) -> dict[str, dict[str, tuple[Any, ...]]]:
    """The same of the rows that the place holds."""
    rows = spot.rows()
    people = {key: (one["name"], one["badge"], one["boss"]) for key, one in rows["people"].items()}
    notes = {key: (one["text"], one["person"]) for key, one in rows["notes"].items()}
    boards = {key: (one["label"],) for key, one in rows["board"].items()}
    cards = {key: (one["number"],) for key, one in rows["card"].items()}
    return {"people": people, "notes": notes, "board": boards, "card": cards}


@contextmanager
def direct(spot: Spot, **options: Any) -> Generator[Engine]:
    """Connections to the place that know nothing of us, but what a service is given."""
    if spot.server is None:
        engine = create_engine(f"sqlite:///{files_of(spot)}", poolclass=NullPool)
        event.listen(engine, "connect", _plain)
        event.listen(engine, "begin", _begin)
    else:
        place, face = place_of(spot), spot.server.face
        engine = create_engine(face.set(database=place.database), poolclass=NullPool, **options)
        said = {
            "role": place.role,
            "search_path": f'"{place.schema}"',
            "paybill.tenant": spot.tenant,
            "paybill.entry": Entries(face).token(place),
        }

        def enter(raw: Any, _: object) -> None:
            for name, value in said.items():
                raw.execute("SELECT set_config(%s, %s, false)", (name, value))
            raw.commit()

        event.listen(engine, "connect", enter)
    try:
        yield engine
    finally:
        engine.dispose()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _plain(raw: Any, _: object) -> None:
    raw.isolation_level = None
    raw.execute("PRAGMA foreign_keys=ON")


def _at(number: int, turn: int) -> str:
    return f"2024-01-0{number} 00:00:{turn % 60:02}"


def _card_id(number: int) -> str:
    return f"00000000-0000-4000-8000-00000000000{number}"


class Writer:
    """Makes transactions in a place, and keeps the ledger of those that were committed."""

    def __init__(self, spot: Spot, engine: Engine) -> None:
        self.ledger = Ledger()
        self._tenant = spot.tenant
        self._engine = engine
        self._names = 0

    def transact(self, ops: Sequence[Op], *, commit: bool = True) -> None:
        """All of them or none; what the ledger says cannot be done is left out."""
        after = deepcopy(self.ledger)
        with self._engine.connect() as connection:
            transaction = connection.begin()
            for op in ops:
                self._do(connection, after, op)
            if commit:
                transaction.commit()
                self.ledger = after
            else:
                transaction.rollback()

    def _do(self, connection: Connection, after: Ledger, op: Op) -> None:
        what, one, other = op
        people, notes = after.people, after.notes
        if what == "add" and one not in people:
            self._add(connection, after, one)
        elif what == "rename" and one in people:
            self._change(connection, after, one, name=self._name())
        elif what in ("drop", "again") and one in people and not after.refers(one):
            connection.execute(delete(PERSON).where(*self._mine(PERSON, one)))
            del people[one]
            if what == "again":
                self._add(connection, after, one)
        elif what == "rekey" and one in people and other not in people and not after.refers(one):
            mine = update(PERSON).where(*self._mine(PERSON, one))
            boss = people[one]["boss"]
            boss = other if boss == one else boss
            connection.execute(mine.values(id=row_id(other), boss=boss and row_id(boss)))
            people[other] = {**people.pop(one), "boss": boss}
        elif what == "boss" and one in people and other in people:
            self._change(connection, after, one, boss=other)
        elif what == "swap" and one in people and other in people and one != other:
            badges = people[other]["badge"], people[one]["badge"]
            self._change(connection, after, one, badge=None)
            self._change(connection, after, other, badge=badges[1])
            self._change(connection, after, one, badge=badges[0])
        elif what == "note" and other in people:
            self._note(connection, after, one, other)
        elif what == "unnote" and one in notes:
            connection.execute(delete(NOTE).where(*self._mine(NOTE, 100 + one)))
            del notes[one]
        else:
            self._do_own(connection, after, op)

    def _do_own(self, connection: Connection, after: Ledger, op: Op) -> None:
        """The same in tables of the team's own."""
        what, one, other = op
        boards, cards = after.boards, after.cards
        key = {"tenant_id": self._tenant, "code": "b", "number": one}
        mine = CARD.c.tenant_id == self._tenant, CARD.c.id == _card_id(one)
        if what == "board":
            boards[one] = self._name()
            rest = BOARD.c.tenant_id == self._tenant, BOARD.c.number == key["number"]
            changed = update(BOARD).where(*rest).values(label=boards[one])
            if not connection.execute(changed).rowcount:
                connection.execute(insert(BOARD).values(**key, label=boards[one]))
        elif what == "card" and other in boards and one not in cards:
            made = card(self._tenant, one, "b") | {"number": other, "at": _at(one, 0)}
            connection.execute(insert(CARD).values(made | {"id": _card_id(one)}))
            cards[one] = (other, 0)
        elif what == "rekeyed" and one in cards:
            board, turn = cards[one]
            connection.execute(update(CARD).where(*mine).values(at=_at(one, turn + 1)))
            cards[one] = (board, turn + 1)
        elif what == "uncard" and one in cards:
            connection.execute(delete(CARD).where(*mine))
            del cards[one]

    def _add(self, connection: Connection, after: Ledger, number: int) -> None:
        badge = max((one["badge"] or 0 for one in after.people.values()), default=0) + 1
        made = {"name": self._name(), "badge": badge, "boss": None}
        values = {**person(number, 1), **made, "team": None}
        implicit = {"tenant_id": self._tenant, "version": 1, "created_at": NOW}
        connection.execute(insert(PERSON).values({**values, **implicit}))
        after.people[number] = made

    def _change(self, connection: Connection, after: Ledger, number: int, **values: Any) -> None:
        told = {name: row_id(one) if name == "boss" else one for name, one in values.items()}
        connection.execute(update(PERSON).where(*self._mine(PERSON, number)).values(told))
        after.people[number] = {**after.people[number], **values}

    def _note(self, connection: Connection, after: Ledger, number: int, about: int) -> None:
        made = {"text": self._name(), "person": about}
        told = {"text": made["text"], "person": row_id(about)}
        if number in after.notes:
            connection.execute(update(NOTE).where(*self._mine(NOTE, 100 + number)).values(told))
        else:
            key = {"tenant_id": self._tenant, "id": row_id(100 + number)}
            implicit = {"version": 1, "created_at": NOW, "order": None}
            connection.execute(insert(NOTE).values({**told, **key, **implicit}))
        after.notes[number] = made

    def _mine(self, table: Any, number: int) -> tuple[Any, ...]:
        return table.c.tenant_id == self._tenant, table.c.id == row_id(number)

    def _name(self) -> str:
        self._names += 1
        return f"v{self._names}"


class Restless(threading.Thread):
    """A writer that never stops by itself, only once it is told that it may only read."""

    def __init__(self, writer: Writer, seed: int) -> None:
        super().__init__(daemon=True)
        self._writer = writer
        self._random = Random(seed)
        self._stopping = threading.Event()
        self.commits = 0
        self.told: str | None = None

    def run(self) -> None:
        while not self._stopping.is_set():
            ops = [self._op() for _ in range(self._random.randint(1, 4))]
            try:
                self._writer.transact(ops, commit=self._random.random() < 0.8)
            except DBAPIError as error:
                if READ_ONLY in str(error.orig):
                    self.told = str(error.orig)
                    return
                if "locked" not in str(error.orig):
                    raise
            self.commits += 1

    def stop(self) -> None:
        """Let it make an end; it did not."""
        self._stopping.set()
        self.join(30)

    def _op(self) -> Op:
        one, other = (self._random.randint(1, PEOPLE_MAX) for _ in range(2))
        return self._random.choice(OPS), one, other
