"""What the stored log keeps beyond the contract of every log. Not the contract."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from control_plane.audit.frontier import Frontier
from control_plane.audit.leaf import Leaf, LeafError, leaf_hash, make_leaf
from control_plane.audit.port import Fenced, Head, IndexedLeaf
from control_plane.secrets.box import new_keypair
from control_plane.store import tables
from control_plane.store.log import StoredLog
from control_plane.store.snapshot import snapshot
from control_plane.store.sqlite import SqliteStore

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_, PUBLIC = new_keypair()


def commit(store: SqliteStore, number: int, tenant: str = "acme") -> Leaf:
    leaf, sealed = make_leaf(
        "tenant.changed",
        tenant,
        {"number": number},
        leaf_id=f"{number:032x}",
        salt="ab" * 16,
        recorded_at=NOW,
        public_key=PUBLIC,
    )
    with store.write() as connection:
        values = leaf.model_dump(mode="json")
        connection.execute(tables.audit_leaf.insert().values(sealed=sealed, **values))
    return leaf


def head_over(leaves: list[Leaf]) -> Head:
    frontier = Frontier()
    for leaf in leaves:
        frontier = frontier.append(leaf_hash(leaf))
    return Head(frontier.size, frontier.to_json(), f"note {frontier.size}", NOW)


def test_a_log_opened_anew_stands_where_it_stood(store: SqliteStore) -> None:
    leaf = commit(store, 1)
    StoredLog(store).append([IndexedLeaf(0, leaf)], head_over([leaf]), 0)
    again = SqliteStore(store.path)
    log = StoredLog(again)
    assert (log.head(), log.leaf(0)) == (head_over([leaf]), leaf)
    again.close()


def test_a_leaf_that_has_its_position_or_no_row_is_not_appended(store: SqliteStore) -> None:
    log = StoredLog(store)
    first, second = commit(store, 1), commit(store, 2)
    log.append([IndexedLeaf(0, first)], head_over([first]), 0)
    absent = second.model_copy(update={"id": "f" * 32})
    for intruder in (first, absent):
        leaves = [first, second, intruder]
        entries = [IndexedLeaf(1, second), IndexedLeaf(2, intruder)]
        with pytest.raises(Fenced):
            log.append(entries, head_over(leaves), 1)
    assert log.head() == head_over([first])
    assert log.unsequenced(10) == [second]


def test_two_checkpoints_of_one_size_are_never_kept(store: SqliteStore) -> None:
    log = StoredLog(store)
    leaf = commit(store, 1)
    log.append([IndexedLeaf(0, leaf)], head_over([leaf]), 0)
    with pytest.raises(Exception, match="UNIQUE"):
        log.append([], replace(head_over([leaf]), note="another"), 1)
    assert log.checkpoints(0, 10) == ["note 1"]


def test_a_row_that_is_no_leaf_any_more_is_named_when_it_is_read(store: SqliteStore) -> None:
    commit(store, 1)
    with store.write() as connection:
        connection.execute(tables.audit_leaf.update().values(commitment="short"))
    with pytest.raises(LeafError):
        StoredLog(store).unsequenced(10)


@pytest.mark.long
def test_the_newest_come_first_of_one_tenant_and_with_what_is_sealed(store: SqliteStore) -> None:
    log = StoredLog(store)
    ours = [commit(store, 1), commit(store, 3)]
    theirs = commit(store, 2, "globex")
    log.append([IndexedLeaf(0, ours[0])], head_over(ours[:1]), 0)
    found = log.newest(10, "acme")
    assert [(one.index, one.leaf) for one in found] == [(None, ours[1]), (0, ours[0])]
    assert [one.leaf for one in log.newest(1)] == [theirs]
    with store.read() as connection:
        statement = select(tables.audit_leaf.c.sealed).where(tables.audit_leaf.c.id == theirs.id)
        assert log.sealed(theirs.id) == connection.execute(statement).scalar_one()
    assert log.sealed("f" * 32) is None


def test_a_log_over_a_snapshot_sees_no_later_commit(store: SqliteStore) -> None:
    leaf = commit(store, 1)
    with snapshot(store) as held:
        log = StoredLog(held)
        assert log.unsequenced(10) == [leaf]
        commit(store, 2)
        assert log.unsequenced(10) == [leaf]
    assert len(StoredLog(store).unsequenced(10)) == 2


def test_waiting_leaves_and_unsettled_calls_are_found_by_an_index_and_not_sorted(
    store: SqliteStore,
) -> None:
    leaf, call = tables.audit_leaf, tables.call
    waiting = select(leaf.c.id).where(leaf.c.position.is_(None)).order_by(leaf.c.written)
    unsettled = select(call.c.id).where((call.c.as_of < "2026") & call.c.settled.is_(False))
    for question, index in ((waiting, "(position=?)"), (unsettled, "ix_call_unsettled")):
        with store.read() as connection:
            literal = question.compile(connection.engine, compile_kwargs={"literal_binds": True})
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {literal}").fetchall()
        assert index in str(plan)
        assert "TEMP B-TREE" not in str(plan)
