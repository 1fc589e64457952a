"""A tenant that is moved while somebody writes past us and never stops: no row is lost, doubled or old."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from control_plane.data.moving import CaughtUp, catch_up, copy, moved_between
from control_plane.data.moving_ends import READ_ONLY, MovingEnd
from control_plane.domain.isolation import ISOLATIONS, Isolation
from tests.control_plane.databases.test_moving_pairs import PAIRS
from tests.support.moving_spots import ALL, Spot, left_by_a_move, spot_on
from tests.support.moving_writers import Restless, Writer, direct, seen
from tests.support.slices import sliced
from tests.support.tenants import TenantServer

_ROUNDS: Final = 6
_PATIENCE_MS: Final = 20_000


@contextmanager
def empty_spots(
    pair: tuple[str, Isolation, str, Isolation], root: Path, logins: TenantServer
) -> Generator[tuple[Spot, Spot]]:
    """A source with a tenant who has no row yet, and a closed target."""
    kind, old, other_kind, new = pair
    with (
        spot_on(kind, old, root, logins) as source,
        spot_on(other_kind, new, root, logins) as target,
    ):
        yield source.made(), target.closed()


def checked(leaving: MovingEnd, coming: MovingEnd, spot: Spot) -> CaughtUp:
    """A round after which what it touched is the same on both sides."""
    caught = catch_up(
        leaving, coming, moved_between(leaving, coming, ALL, spot.tenant), check="touched"
    )
    assert caught.comparison is not None
    caught.comparison.require_equal()
    return caught


@pytest.mark.long
@pytest.mark.parametrize(
    "pair", sliced([pair for pair in PAIRS if pair[2] == "postgres"], every=10)
)
def test_nothing_is_lost_of_what_is_written_without_end_meanwhile(
    pair: tuple[str, Isolation, str, Isolation], tmp_path: Path, tenant_logins: TenantServer
) -> None:
    with empty_spots(pair, tmp_path, tenant_logins) as (source, target), direct(source) as engine:
        leaving, coming = source.end(), target.end()
        writer = Writer(source, engine)
        restless = Restless(writer, seed=PAIRS.index(pair))
        restless.start()
        try:
            leaving.capture(ALL)
            copy(leaving, coming, source.moved_to(target))
            entries = [checked(leaving, coming, source).entries for _ in range(_ROUNDS)]
            full = catch_up(leaving, coming, source.moved_to(target), check="all")
            leaving.freeze(_PATIENCE_MS)
            restless.join(30)
            last = checked(leaving, coming, source)
        finally:
            restless.stop()
        assert full.comparison is not None
        full.comparison.require_equal()
        assert restless.told is not None, "the writer felt the freeze"
        assert READ_ONLY in restless.told
        assert restless.commits > len(entries), "it wrote all the time"
        assert sum(entries) + full.entries + last.entries > 0
        assert seen(target) == writer.ledger.told() == seen(source)

        leaving.thaw(open=True)
        writer.transact([("add", 1, 1), ("rename", 1, 1)])
        leaving.release()
        assert left_by_a_move(source) == set()
        writer.transact([("rename", 1, 1), ("note", 1, 1)])
        assert seen(source) == writer.ledger.told()


@pytest.mark.long
@pytest.mark.parametrize("model", sliced(ISOLATIONS, every=3))
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_source_that_is_kept_takes_back_what_was_written_since(
    kind: str, model: Isolation, tmp_path: Path, tenant_logins: TenantServer
) -> None:
    pair: tuple[str, Isolation, str, Isolation] = (kind, model, "postgres", "pooled")
    with empty_spots(pair, tmp_path, tenant_logins) as (source, target):
        leaving, coming = source.end(), target.end()
        with direct(source) as engine:
            writer = Writer(source, engine)
            writer.transact([("add", 1, 1), ("add", 2, 1), ("note", 1, 2), ("boss", 1, 2)])
            leaving.capture(ALL)
            copy(leaving, coming, source.moved_to(target))
            writer.transact([("swap", 1, 2), ("unnote", 1, 1), ("again", 2, 2)])
            leaving.freeze(_PATIENCE_MS)
            checked(leaving, coming, source)
        # Captured before it opens: nothing that is written there is unknown.
        coming.capture(ALL)
        target.databases.fence("acme", target.model, 2, open=True)
        with direct(target) as engine:
            after = Writer(target, engine)
            after.ledger = writer.ledger
            after.transact([("add", 3, 1), ("rekey", 2, 5), ("note", 4, 3), ("rename", 1, 1)])
            back, home = target.end(3), source.end(3)
            back.freeze(_PATIENCE_MS)
            checked(back, home, source)
            home.thaw(open=True)
            home.release()
            back.release()
        assert seen(source) == after.ledger.told() == seen(target)
        assert source.databases.open_at("acme", source.model) == 3
        assert target.databases.open_at("acme", target.model) is None
        assert left_by_a_move(source) == left_by_a_move(target) == set()
