"""A list is read to its end or not at all. Not how a cloud pages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import BadInput, Unavailable
from control_plane.provisioning.accounts import CloudAccount, FromEnvironment
from control_plane.provisioning.clouds import pages
from control_plane.provisioning.clouds.endpoint import endpoints


@given(st.lists(st.lists(st.integers(), max_size=5), max_size=20))
def test_everything_of_every_page_comes_in_order(listed: list[list[int]]) -> None:
    assert pages.read_all("aws", listed) == tuple(itertools.chain.from_iterable(listed))


@pytest.mark.parametrize("page", [[], [1]])
def test_pages_without_end_are_an_error_and_no_list(
    page: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def endless() -> Iterator[list[int]]:
        nonlocal asked
        while True:
            asked += 1
            yield page

    with pytest.raises(Unavailable) as told:
        pages.read_all("ibm", endless())
    assert told.value.code == "cloud_list_too_long"
    assert asked == pages.PAGES_MAX


def test_a_list_that_takes_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 60.0, 121.0])
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    with pytest.raises(Unavailable, match="120 s") as told:
        pages.read_all("gcp", [[1], [2], [3]])
    assert told.value.code == "cloud_list_too_long"


@pytest.mark.parametrize(
    "address",
    [
        "http://cloud.example",
        "https://user:word@cloud.example",
        "https://cloud.example?key=1",
        "ftp://127.0.0.1",
        "cloud.example",
    ],
)
def test_credentials_go_to_no_address_that_anybody_may_read(address: str) -> None:
    account = CloudAccount(
        account="1",
        regions=("eu-1",),
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
        endpoints={"sts": address},
    )
    with pytest.raises(BadInput, match=r"endpoints\.sts") as told:
        endpoints(account, ("sts",))
    assert address not in str(told.value)
