"""Two workers of one store, each with a state folder of its own, as on two machines. Not their faces."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from server.login_files import read_login
from tests.conftest import MakeHouse
from tests.support.house import House, fresh_name
from tests.support.onboarding import onboard
from tests.support.waiting import until
from tests.support.workers import RunningWorker

StartWorker = Callable[..., RunningWorker]
ENDS_S = 60.0


@pytest.fixture
def here(workspace: MakeHouse) -> House:
    return workspace(store="postgres")


@pytest.fixture
def elsewhere(here: House) -> House:
    """The same workspace as another machine has it: a copy of its state, no lock in common."""
    folder = here.folder / "elsewhere"
    home = folder / "home"
    shutil.copytree(here.home, home)
    state = home / here.workspace.state.relative_to(here.home)
    return replace(here, folder=folder, home=home, workspace=replace(here.workspace, state=state))


def end_the_claims_session(house: House) -> None:
    url = read_login(house.workspace.state, "worker")
    given: dict[str, Any] = {
        **url.translate_connect_args(username="user", database="dbname"),
        **url.query,
    }
    with psycopg.connect(autocommit=True, **given) as session:
        ended = session.execute(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a"
            " ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted"
            " AND a.datname = current_database() AND a.application_name = 'paybill-claim'"
        ).fetchall()
    assert ended == [(True,)]


@pytest.mark.sweep
def test_a_worker_elsewhere_stands_by_and_takes_over_when_the_claim_is_lost(
    here: House, elsewhere: House, worker: StartWorker
) -> None:
    first, second = fresh_name(), fresh_name()
    token = here.issue("operator", f"{first},{second}")
    at_work = worker(here)
    standing_by = worker(elsewhere)
    assert "standing by" in standing_by.log.read_text()

    # Faces of both machines decide and read; the runs are the one worker's.
    with elsewhere.face(token) as face:
        onboard(face, first)
        assert "ready;" not in standing_by.log.read_text()

        end_the_claims_session(here)
        assert at_work.process.wait(ENDS_S) == 1
        until(lambda: "ready;" in standing_by.log.read_text(), "the other takes over", ENDS_S)
        onboard(face, second)
