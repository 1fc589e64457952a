"""What every LogStore keeps, over the one in memory and the stored one. Not the sequencer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from control_plane.audit.frontier import Frontier
from control_plane.audit.leaf import Guard, Leaf, leaf_hash, make_leaf
from control_plane.audit.memory import MemoryLog
from control_plane.audit.note import verifier_key_of
from control_plane.audit.port import Fenced, Head, IndexedLeaf, LogStore
from control_plane.audit.sequencer import Sequencer
from control_plane.audit.verify import verify
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair
from control_plane.store import tables
from control_plane.store.log import StoredLog
from control_plane.store.migrate import upgrade, upgrade_postgres
from control_plane.store.postgres import PostgresStore
from control_plane.store.sqlite import SqliteStore
from tests.support.postgres import Postgres

pytestmark = pytest.mark.slice_of(2)

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ORIGIN: Final = "paybill.example/audit"
SEED: Final = bytes(range(32))
_, PUBLIC = new_keypair()


@dataclass(frozen=True)
class Subject:
    """A log, and what stands for the transaction that commits a leaf."""

    log: LogStore
    add: Callable[[Leaf, bytes], None]

    def commit(self, number: int) -> Leaf:
        leaf, sealed = made(number)
        self.add(leaf, sealed)
        return leaf


def made(number: int) -> tuple[Leaf, bytes]:
    # Ids fall while numbers rise, so that an order by id is not the order of the commits.
    return make_leaf(
        "tenant.changed",
        "acme",
        {"number": number},
        leaf_id=f"{2**32 - number:032x}",
        salt="ab" * 16,
        recorded_at=NOW,
        public_key=PUBLIC,
        guards=[Guard(table="tenant", key="acme", digest=f"{number:064x}")],
    )


@contextmanager
def memory(_request: pytest.FixtureRequest, _folder: Path) -> Generator[Subject]:
    log = MemoryLog()
    yield Subject(log, log.add)


@contextmanager
def stored(_request: pytest.FixtureRequest, folder: Path) -> Generator[Subject]:
    upgrade(folder / "store.db")
    with closing(SqliteStore(folder / "store.db")) as store:
        yield over(store)


@contextmanager
def on_postgres(request: pytest.FixtureRequest, _folder: Path) -> Generator[Subject]:
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        upgrade_postgres(url, schema="public")
        with closing(PostgresStore(url, schema="public")) as store:
            yield over(store)


def over(store: Store) -> Subject:
    def add(leaf: Leaf, sealed: bytes) -> None:
        values = leaf.model_dump(mode="json")
        with store.write() as connection:
            connection.execute(tables.audit_leaf.insert().values(sealed=sealed, **values))

    return Subject(StoredLog(store), add)


Place = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Subject]]
LOGS: Final[Mapping[str, Place]] = {
    "memory": memory,
    "stored": stored,
    "postgres": on_postgres,
}


@pytest.fixture(params=sorted(LOGS))
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    with LOGS[request.param](request, tmp_path) as found:
        yield found


def next_head(head: Head, leaves: list[Leaf]) -> tuple[list[IndexedLeaf], Head]:
    frontier = Frontier.from_json(head.frontier)
    for leaf in leaves:
        frontier = frontier.append(leaf_hash(leaf))
    entries = [IndexedLeaf(head.size + place, leaf) for place, leaf in enumerate(leaves)]
    note = f"note {frontier.size}"
    return entries, Head(frontier.size, frontier.to_json(), note, NOW)


def extend(log: LogStore, limit: int) -> Head:
    before = log.head()
    entries, head = next_head(before, log.unsequenced(limit))
    log.append(entries, head, before.size)
    return head


def state(log: LogStore) -> tuple[object, ...]:
    return log.head(), log.unsequenced(100), log.leaves(0, 100), log.checkpoints(0, 100)


def test_a_new_log_is_empty(subject: Subject) -> None:
    assert subject.log.head() == Head(0, Frontier().to_json(), None, None)
    assert state(subject.log)[1:] == ([], [], [])
    assert subject.log.leaf(0) is None


@pytest.mark.long
def test_waiting_leaves_come_oldest_first_and_whole(subject: Subject) -> None:
    leaves = [subject.commit(number) for number in range(5)]
    assert subject.log.unsequenced(3) == leaves[:3]
    assert subject.log.unsequenced(100) == leaves
    assert subject.log.leaves(0, 100) == []


def test_an_append_gives_positions_and_replaces_the_head(subject: Subject) -> None:
    leaves = [subject.commit(number) for number in range(5)]
    head = extend(subject.log, 3)
    assert subject.log.head() == head
    assert subject.log.unsequenced(100) == leaves[3:]
    assert subject.log.leaves(0, 100) == [IndexedLeaf(n, leaves[n]) for n in range(3)]
    assert subject.log.leaf(2) == leaves[2]
    assert subject.log.leaf(3) is None


def test_leaves_and_notes_come_page_by_page(subject: Subject) -> None:
    leaves = [subject.commit(number) for number in range(6)]
    for _ in range(3):
        extend(subject.log, 2)
    assert subject.log.leaves(1, 3) == [IndexedLeaf(n, leaves[n]) for n in (1, 2, 3)]
    assert subject.log.leaves(6, 3) == []
    assert subject.log.checkpoints(0, 2) == ["note 2", "note 4"]
    assert subject.log.checkpoints(2, 2) == ["note 6"]
    assert subject.log.checkpoints(3, 2) == []


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_an_append_to_another_head_is_fenced_and_changes_nothing(
    subject: Subject, expected: int
) -> None:
    for number in range(3):
        subject.commit(number)
    extend(subject.log, 2)
    before = state(subject.log)
    entries, head = next_head(subject.log.head(), subject.log.unsequenced(1))
    with pytest.raises(Fenced):
        subject.log.append(entries, head, expected)
    assert state(subject.log) == before
    subject.log.append(entries, head, 2)
    assert subject.log.head() == head


def test_what_the_sequencer_makes_of_it_verifies(subject: Subject) -> None:
    sequencer = Sequencer(subject.log, SEED, ORIGIN, lambda: NOW)
    for number in range(4):
        subject.commit(number)
        sequencer.step()
    key = verifier_key_of(ORIGIN, SEED).text()
    report = verify(subject.log, key, rows={("tenant", "acme"): f"{3:064x}"})
    assert report.intact
    assert report.size == 4
