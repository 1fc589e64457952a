"""Instants as records hold them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from control_plane.domain.instant import Instant

INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
EAST, WEST = timezone(timedelta(hours=2)), timezone(-timedelta(hours=2))


def test_an_instant_of_another_zone_is_the_same_one_in_utc() -> None:
    held = INSTANT.validate_python(datetime(2030, 1, 1, 1, tzinfo=EAST))
    assert held == datetime(2029, 12, 31, 23, tzinfo=UTC)
    assert held.tzinfo is UTC


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 1, 1),  # noqa: DTZ001 - the missing zone is the point
        datetime.min.replace(tzinfo=EAST),
        datetime.max.replace(tzinfo=WEST),
    ],
)
def test_what_has_no_zone_or_no_place_in_utc_is_an_error_of_the_input(moment: datetime) -> None:
    with pytest.raises(ValidationError):
        INSTANT.validate_python(moment)
