"""A catalog changed, applied as an operator does, and approved by hand. Not what is looked at meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from control_plane.domain.run_record import Run
from control_plane.facts.load import run_row
from server.catalog import keep_copy, read_files
from server.catalog_applying import RESTING, ask, opened_front
from tests.support.approver import approve, enrol
from tests.support.house import House, Token, fresh_key
from tests.support.waiting import until

APPLIED_S = 240.0


@dataclass(frozen=True)
class Operator:
    """Who applies catalogs to a workspace and, where the rule is one's own hand, approves it too."""

    house: House
    token: Token

    @classmethod
    def of(cls, house: House) -> Operator:
        """A person who is an administrator and an approver; a worker runs."""
        token = house.issue("platform_admin,approver", "*", actor=None)
        enrol(house, token.principal)
        return cls(house, token)

    def changed(self, edit: Callable[[Path], None]) -> str:
        """Edit the working files, and keep a copy; its digest."""
        workspace = self.house.workspace
        edit(workspace.catalog)
        return keep_copy(workspace.catalogs, read_files(workspace.catalog)).digest

    def ask(self, digest: str) -> str:
        """Ask for a kept catalog; the run's id."""
        house = self.house
        with opened_front(house.workspace, house.settings, self.token.file) as (front, _):
            outcome = ask(front, digest, fresh_key())
        assert outcome.outcome == "running", outcome
        assert outcome.run_id is not None
        return outcome.run_id

    def approve(self, run_id: str) -> None:
        """Sign its plan, once it waits for that."""
        parked = self.follow(run_id, {"awaiting_approval"})
        assert parked.approval_id is not None
        approve(self.house, self.token, parked.approval_id)

    def apply(self, edit: Callable[[Path], None]) -> Run:
        """All of it, to the end."""
        run_id = self.ask(self.changed(edit))
        self.approve(run_id)
        return self.follow(run_id, {"applied"})

    def follow(self, run_id: str, states: set[str]) -> Run:
        """Wait until a run is in one of the states."""

        def arrived() -> Run | None:
            run = self.run(run_id)
            if run.state in states:
                return run
            if run.state in RESTING:
                pytest.fail(f"the run came to {run.state}: {run.reason} {run.detail}")
            return None

        return until(arrived, f"the run is in {sorted(states)}", APPLIED_S)

    def run(self, run_id: str) -> Run:
        """The run as it stands."""
        with self.house.store() as store, store.read() as connection:
            found = run_row(connection, run_id)
        assert found is not None
        return found


def add_field(name: str, text: str, collection: str = "contacts") -> Callable[[Path], None]:
    """An edit that declares one field more; ``text`` is its declaration as YAML, in one line."""

    def edit(catalog: Path) -> None:
        file = catalog / "collections" / f"{collection}.yaml"
        told = file.read_text()
        assert "fields:\n" in told
        file.write_text(told.replace("fields:\n", f"fields:\n  {name}: {text}\n", 1))

    return edit


def add_collection(name: str) -> Callable[[Path], None]:
    """An edit that declares one collection more, of one field."""

    def edit(catalog: Path) -> None:
        told = f"name: {name}\ndescription: Ours.\nfields:\n  title: {{kind: string}}\n"
        (catalog / "collections" / f"{name}.yaml").write_text(told)

    return edit
