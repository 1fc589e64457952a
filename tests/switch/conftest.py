"""One workspace a file for what a switch meets: a tenant in files, and faces that stay open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.wiring import Face
from tests.support.workers import running_worker
from tests.switch.fleet import Fleet, opened_fleet


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Fleet]:
    """One workspace in files with a tenant; at the end its whole log is held against its rows."""
    folder = tmp_path_factory.mktemp("faults") / "house"
    with opened_fleet(folder, cerbos_binary, None, ("pooled",)) as made:
        yield made
        with running_worker(made.house):
            made.assert_log_intact()
        made.assert_no_engine_left()


@pytest.fixture
def fleet(opened: Fleet) -> Fleet:
    """The same; the working files are as what is in force."""
    opened.back()
    return opened


@pytest.fixture
def calls(fleet: Fleet) -> Iterator[Face]:
    """A face that stays open, for records."""
    with fleet.house.face(fleet.support) as face:
        yield face


@pytest.fixture
def admin(fleet: Fleet) -> Iterator[Face]:
    """A face that stays open, for tenants and runs."""
    with fleet.house.face(fleet.operator.token) as face:
        yield face
