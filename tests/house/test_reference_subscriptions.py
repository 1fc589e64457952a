"""The reference on subscriptions: its example in numbers and its ladder are those of the code. Not its prose."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.billing.book import UPGRADE_OPEN_H
from control_plane.billing.change_quote import Wanted
from control_plane.billing.plan_change import quote
from control_plane.domain.dunning_policy import DunningPolicy
from control_plane.domain.plans import parse_plans
from control_plane.handlers.subscription_plan import QUOTE_MAX
from tests.support.books import begun, change, final, go
from tests.support.pages import Section, code, sections

BEGAN, CHANGED = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 11, tzinfo=UTC)


@pytest.fixture(scope="module")
def page(root: Path) -> Mapping[str, Section]:
    return sections((root / "docs" / "reference" / "subscriptions.md").read_text())


def shown(minor: int) -> str:
    whole, cents = divmod(abs(minor), 100)
    return f"{'-' if minor < 0 else ''}{whole}.{cents:02d}"


def test_the_example_comes_to_what_the_code_quotes_and_bills(
    page: Mapping[str, Section], root: Path
) -> None:
    (table,) = page["An example in numbers"].tables
    plans = parse_plans((root / "control_plane/data/sample/plans.yaml").read_text(), "plans.yaml")
    book = begun("business", at=BEGAN, plans=plans, terms={"seats": 10})
    assert shown(final(book)[0].total_minor) in page["An example in numbers"].text
    quoted = quote(book, Wanted(plan="enterprise"), CHANGED, "preview")
    told = {f"`{one.kind}:{one.reference}`": shown(one.amount_minor) for one in quoted.lines}
    told["due now"] = shown(quoted.due_minor)
    told["a month from then on"] = shown(quoted.recurring_minor)
    assert table.cells("line", "amount") == list(told.items())
    change(book, CHANGED, plan="enterprise")
    go(book, datetime(2026, 2, 1, tzinfo=UTC))
    assert [shown(one.total_minor) for one in final(book)] == ["139.00", "237.78", "490.00"]


def test_the_ladder_and_the_tries_are_those_of_a_plan_that_says_nothing_else(
    page: Mapping[str, Section],
) -> None:
    tries, ladder = page["When a payment fails"].tables
    policy = DunningPolicy()
    days = [int(one) for cell in tries.column("days after the due one") for one in cell.split(",")]
    assert tuple(days) == policy.retry_days
    assert [(int(day), code(level)) for day, level in ladder.cells("day", "level")] == [
        (one.day, one.level) for one in policy.rungs
    ]
    assert f"{policy.retention_days} days more" in ladder.rows[-1][-1]


def test_how_long_a_quote_and_a_change_stay_open_is_told(page: Mapping[str, Section]) -> None:
    assert timedelta(hours=1) == QUOTE_MAX
    assert "holds for an hour" in page["A change is previewed and committed"].text
    assert f"{UPGRADE_OPEN_H} hours" in page["What applies when"].text
