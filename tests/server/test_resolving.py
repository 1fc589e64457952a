"""A name is resolved in time, or counts as one that has no address."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from server.resolving import resolve


def test_this_machine_has_an_address() -> None:
    assert set(resolve("localhost", 443)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("fault", [OSError("no such name"), UnicodeError("no name at all")])
def test_what_the_resolver_says_is_passed_on(fault: Exception) -> None:
    def fails(_host: str, _port: int) -> Sequence[str]:
        raise fault

    with pytest.raises(type(fault)):
        resolve("a.test", 443, ask=fails)


def test_a_question_that_hangs_ends_at_its_deadline() -> None:
    asked = threading.Event()

    def hangs(_host: str, _port: int) -> Sequence[str]:
        asked.wait(10)
        return ["192.0.2.1"]

    with pytest.raises(OSError, match="in time"):
        resolve("a.test", 443, 0.01, hangs)
    asked.set()
