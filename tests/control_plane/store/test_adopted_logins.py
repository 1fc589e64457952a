"""The logins on a server that a stack made: made once, given new passwords when asked again, and nobody else's."""

from __future__ import annotations

import pytest
from sqlalchemy import URL

from control_plane.errors import Unavailable
from control_plane.store.logins import (
    Names,
    adopt_for_tenants,
    knock,
    make_for_tenants,
    remove_for_tenants,
)
from tests.control_plane.store.test_logins import PASSWORD, names, owner, standing
from tests.support.postgres import Postgres

__all__ = ["names", "owner"]


def test_asked_again_they_are_the_same_logins_under_new_passwords(
    postgres: Postgres, owner: URL, names: Names
) -> None:
    first = adopt_for_tenants(owner, names, "stack_acme")
    stand = standing(postgres, names)
    assert [one.rsplit("_", 1)[-1] for one in stand] == ["data", "worker"]
    again = adopt_for_tenants(owner, names, "stack_acme")
    assert standing(postgres, names) == stand
    for login in first:
        assert knock(again[login]) == "open"
        # The ones of before, which a killed worker may have told nobody, let nobody in.
        assert knock(first[login]) == "refused"


def test_those_of_another_mark_are_refused_and_left_alone(
    postgres: Postgres, owner: URL, names: Names
) -> None:
    made = make_for_tenants(owner, names, "an operator")
    with pytest.raises(Unavailable) as told:
        adopt_for_tenants(owner, names, "stack_acme")
    assert told.value.code == "postgres_taken"
    remove_for_tenants(owner, names, "stack_acme")
    assert {knock(one) for one in made.values()} == {"open"}
    remove_for_tenants(owner, names, "an operator")
    assert standing(postgres, names) == []
    remove_for_tenants(owner, names, "an operator")


def test_who_knocks_learns_whether_it_is_silent_or_does_not_let_in(
    postgres: Postgres, owner: URL
) -> None:
    assert knock(owner) == "open"
    assert knock(owner.set(password=f"not {PASSWORD}")) == "refused"
    assert knock(owner.set(query={"host": "/nowhere"})) == "silent"
    assert knock(owner.set(host="127.0.0.1", port=9, query={})) == "silent"
