"""`paybill catalog apply` as far as no run is needed: mistakes, and nothing to do. Not the run itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.handlers.catalog_in_force import BEFORE_SETTING
from control_plane.store import rows, tables
from server.catalog import load
from server.presence import held
from tests.server.cli.conftest import Run
from tests.support.house import House

SETTING = tables.setting.c.name == BEFORE_SETTING


def kept(house: House) -> set[str]:
    return {one.name for one in house.workspace.catalogs.iterdir()}


@pytest.fixture
def half_applied(ruled: House) -> Iterator[str]:
    """As if databases still served the catalog before; what is then said."""
    with ruled.store() as store, store.write() as connection:
        assert rows.change(connection, tables.setting, SETTING, value="0" * 64) == 1
    yield "Databases still serve the catalog before the one applied"
    with ruled.store() as store, store.write() as connection:
        rows.change(connection, tables.setting, SETTING, value="")


@pytest.mark.long
def test_a_folder_with_mistakes_is_neither_kept_nor_asked_for(
    run: Run, ruled: House, folder: Path
) -> None:
    before = kept(ruled), ruled.rows()
    (folder / "plans.yaml").write_text("plans: [")
    ran = run("catalog", "apply", folder)
    assert (ran.exit_code, ran.stdout) == (1, "plans.yaml:1: must be valid YAML\n")
    told = json.loads(run("catalog", "apply", folder, "--json").stdout)
    assert told["mistakes"][0]["file"] == "plans.yaml"
    assert (kept(ruled), ruled.rows()) == before


def test_what_is_applied_needs_no_worker_and_no_token(run: Run, ruled: House, folder: Path) -> None:
    ran = run("catalog", "apply")
    assert (ran.exit_code, ran.stdout) == (0, "Nothing to do: this catalog is applied.\n")
    told = json.loads(run("catalog", "apply", folder, "--dry-run", "--json").stdout)
    digest = load(folder).digest
    assert told["outcome"] == "done"
    assert told["result"] == {"catalog": digest, "before": digest}
    assert not held(ruled.workspace.worker_lock)


def test_a_plan_says_that_the_catalog_in_force_is_not_finished(run: Run, half_applied: str) -> None:
    ran = run("catalog", "plan")
    assert ran.exit_code == 0, ran.output
    assert half_applied in ran.stderr


def test_a_folder_that_is_not_there_is_told_in_one_line(run: Run, tmp_path: Path) -> None:
    ran = run("catalog", "apply", tmp_path / "gone")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == "paybill: folder: must be a catalog's folder that is there\n"
