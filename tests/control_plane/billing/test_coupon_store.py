"""Redemptions as they are kept, on both engines: as they were redeemed, and never more than there may be. Not their rules."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from control_plane.billing import coupon_store
from control_plane.billing.book import Book
from control_plane.billing.coupons import give_back
from control_plane.domain.coupon import Coupon
from control_plane.domain.redemption import redeem
from control_plane.errors import Refused
from control_plane.ports import Store
from control_plane.store.coupon_tables import coupon_tally, redemption
from tests.support.books import DAY, START, new_book
from tests.support.ledgers import opened_store

CODE = "SPRING"


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with opened_store(request.param, tmp_path, request) as opened:
        yield opened


def coupon(redemptions_max: int | None = None) -> Coupon:
    text = {
        "code": CODE,
        "title": "Spring offer",
        "percent_off": "12.5",
        "duration": "intervals",
        "intervals": 3,
        "redeem_by": "2027-01-01T00:00:00Z",
        "redemptions_max": redemptions_max,
        "plans": ["team"],
    }
    return Coupon.model_validate(text, strict=False)


def loaded(store: Store, tenant: str) -> Book:
    """A book of the tenant's, with nothing of the store in it but its coupons."""
    book = new_book(tenant=tenant)
    with store.read() as connection:
        book.redemptions_before = coupon_store.redemptions(connection, tenant)
    book.redemptions = dict(book.redemptions_before)
    return book


def save(store: Store, book: Book) -> None:
    with store.write(book.tenant) as connection:
        coupon_store.save(connection, book)


def take(store: Store, tenant: str, redemptions_max: int | None = None) -> None:
    book = loaded(store, tenant)
    book.redemptions[CODE] = redeem(tenant, coupon(redemptions_max), START)
    save(store, book)


def counted(store: Store) -> tuple[int, int]:
    """What the tally says, and how many there are."""
    with store.read() as connection:
        rows: Any = connection.execute(select(func.count()).select_from(redemption)).scalar()
        return coupon_store.redeemed(connection, CODE), rows


def test_what_was_redeemed_is_found_as_it_was_and_as_far_as_it_has_run(store: Store) -> None:
    take(store, "acme", 5)
    book = loaded(store, "acme")
    assert book.redemptions == {CODE: redeem("acme", coupon(5), START)}
    book.redemptions[CODE] = book.redemptions[CODE].counted(START + DAY)
    save(store, book)
    later = loaded(store, "acme").redemptions[CODE]
    assert (later.periods, later.period_start, later.periods_left) == (1, START + DAY, 2)
    book.redemptions[CODE] = later.ended(START + 2 * DAY)
    save(store, book)
    assert loaded(store, "acme").redemptions[CODE].ended_at == START + 2 * DAY
    assert loaded(store, "globex").redemptions == {}
    assert counted(store) == (1, 1)


def test_the_last_one_is_had_and_the_next_tenant_is_refused(store: Store) -> None:
    take(store, "acme", 2)
    take(store, "globex", 2)
    with pytest.raises(Refused) as told:
        take(store, "initech", 2)
    assert (told.value.code, told.value.fact) == ("coupon_used_up", "redemptions_max")
    assert counted(store) == (2, 2)


def test_one_that_is_given_back_is_there_for_another(store: Store) -> None:
    take(store, "acme", 1)
    book = loaded(store, "acme")
    give_back(book, CODE, START)
    save(store, book)
    assert counted(store) == (0, 0)
    take(store, "globex", 1)
    assert counted(store) == (1, 1)


def test_a_coupon_without_a_maximum_is_counted_all_the_same(store: Store) -> None:
    for number in range(4):
        take(store, f"tenant-{number}")
    assert counted(store) == (4, 4)


def test_what_is_rolled_back_was_not_redeemed(store: Store) -> None:
    book = loaded(store, "acme")
    book.redemptions[CODE] = redeem("acme", coupon(1), START)

    def fails() -> None:
        with store.write("acme") as connection:
            coupon_store.save(connection, book)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert counted(store) == (0, 0)


def test_a_book_tells_which_of_its_redemptions_it_changes(store: Store) -> None:
    take(store, "acme")
    book = loaded(store, "acme")
    assert coupon_store.moved(book) == ()
    named = book.redemptions[CODE].id
    book.redemptions[CODE] = book.redemptions[CODE].counted(START)
    assert coupon_store.moved(book) == (named,)
    save(store, book)
    assert coupon_store.moved(book) == ()
    give_back(book, CODE, START + timedelta(hours=1))
    assert coupon_store.moved(book) == (named,)


def test_tenants_that_redeem_at_once_never_go_over_the_maximum(store: Store) -> None:
    gate, refused = threading.Barrier(8), list[str]()

    def one(tenant: str) -> None:
        gate.wait(20)
        try:
            take(store, tenant, 3)
        except Refused as error:
            refused.append(error.code)

    threads = [threading.Thread(target=one, args=(f"tenant-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert refused == ["coupon_used_up"] * 5
    assert counted(store) == (3, 3)
    with store.read() as connection:
        assert connection.execute(select(coupon_tally.c.code)).scalars().all() == [CODE]
