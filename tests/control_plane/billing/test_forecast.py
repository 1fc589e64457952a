"""A book under a test clock: the same moves as the real thing, and it comes to an end."""

from __future__ import annotations

import pytest

from control_plane.billing import forecast
from control_plane.billing.forecast import collect, run
from control_plane.errors import BadInput
from tests.support.books import (
    DAY,
    START,
    Auditor,
    begun,
    declined,
    every_hour,
    facts_of,
    final,
    go,
    new_book,
    paid,
    pending,
)


def test_thirteen_months_have_fourteen_invoices() -> None:
    book = begun()
    run(book, START + 396 * DAY, paid)
    assert [one.state for one in final(book)] == ["paid"] * 14
    Auditor().look(book)


def test_a_year_at_once_is_the_same_as_day_by_day() -> None:
    for answer in (paid, declined):
        whole, daily = begun("metered", usage=every_hour), begun("metered", usage=every_hour)
        run(whole, START + 365 * DAY, answer)
        for day in range(366):
            run(daily, START + day * DAY, answer)
        whole.refresh()
        daily.refresh()
        assert facts_of(whole) == facts_of(daily)


def test_what_the_provider_never_settles_does_not_go_on_for_ever() -> None:
    book = begun()
    assert run(book, START + 365 * DAY, pending) < 100


def test_only_what_is_due_is_collected() -> None:
    book = new_book()
    run(book, START, declined)
    tried = len(book.attempts)
    collect(book, START, paid)
    assert len(book.attempts) == tried


def test_more_than_a_forecast_can_show_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "STOPS_MAX", 3)
    with pytest.raises(BadInput, match="months"):
        go(begun(), START + 365 * DAY)
