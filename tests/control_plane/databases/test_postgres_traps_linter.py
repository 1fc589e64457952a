"""What a linter of row-level security says of the schemas that are built. Not what a statement can do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

import pytest

from control_plane.data.collection import SAMPLES, Collection, load_collection
from control_plane.databases.postgres import PostgresDatabases
from control_plane.databases.postgres_names import Names
from control_plane.domain.isolation import Isolation
from tests.support.tenants import TenantServer

_SECONDS_MAX: Final = 120
# Rules that are broken on purpose, and why.
ACCEPTED: Final = {
    "SEC007": "no policy stands beside the one: what the guard asks is a part of each",
    "SEC010": "a writer may hold the fence's row, which takes the right to change it, and no more",
    "SEC013": "a trigger counts what services add and remove, and reads no row of the table",
    "SEC014": "one function tells a session which tenant it has entered, and one counts its records",
    "SEC021": "a schema of one tenant's own names it, beside the question who has entered",
    "PERF001": "a question that is asked once, but not first, would answer EXPLAIN",
}
# Tables without a tenant's row: the owner's alone, or for all to read and none to write.
WITHOUT_TENANT: Final = {
    "paybill.entry",
    "paybill.login",
    "PLACE.paybill_schema",
    "reference.currencies",
    "reference.paybill_reference",
}

Findings: TypeAlias = set[tuple[str, str]]
Lint: TypeAlias = Callable[[Isolation], Findings]


@pytest.fixture
def lint(
    on_postgres: PostgresDatabases, server: TenantServer, people: Collection, tmp_path: Path
) -> Lint:
    """Build the tenant `acme`, and give what the linter finds: rule and object."""
    beside = os.fspath(Path(sys.executable).parent)
    program = shutil.which("pgrls", path=os.pathsep.join((beside, os.environ["PATH"])))
    if program is None:
        pytest.skip("the linter is not installed: `uv pip install pgrls`")
    currencies = load_collection(SAMPLES / "currencies.yaml")

    def run(model: Isolation) -> Findings:
        if not on_postgres.exists("acme", model):
            on_postgres.create("acme", model, [people, currencies], 1)
            on_postgres.grant_direct("acme", model, "a", "kept-by-a-service", "full")
        place = Names(server.prefix).place("acme", model)
        owner, host = server.owner, quote(str(server.owner.query["host"]), safe="")
        address = f"postgresql://{owner.username}:{owner.password}@/{place.database}?host={host}"
        schemas = f"{place.schema},paybill,reference"
        done = subprocess.run(
            [program, "lint", "--database-url", address, "--schemas", schemas, "--format", "json"],
            capture_output=True,
            timeout=_SECONDS_MAX,
            check=False,
            cwd=tmp_path,  # no settings but its own
        )
        assert done.returncode in (0, 1), done.stderr
        found = json.loads(done.stdout)["violations"]
        return {(one["rule_id"], one["location"].replace(place.schema, "PLACE")) for one in found}

    return run


@pytest.mark.long_but_one
def test_the_linter_finds_nothing_but_what_is_so_on_purpose(
    lint: Lint, any_model: Isolation
) -> None:
    found = lint(any_model)
    assert {where for rule, where in found if rule == "SEC001"} == WITHOUT_TENANT
    assert {rule for rule, _ in found} <= {"SEC001", *ACCEPTED}
    assert ("SEC014", "paybill.entered") in found
    assert {where for rule, where in found if rule == "SEC014"} <= {
        "paybill.entered",
        "paybill.counted",
    }


@pytest.mark.long
def test_the_linter_would_find_a_view_and_a_table_without_its_guard(
    lint: Lint, server: TenantServer
) -> None:
    lint("pooled")
    with server.raw(server.owner, Names(server.prefix).shared) as raw:
        raw.execute("CREATE VIEW pooled.v AS SELECT * FROM pooled.contacts")
        raw.execute("ALTER TABLE pooled.contacts NO FORCE ROW LEVEL SECURITY")
    rules = {rule for rule, _ in lint("pooled")}
    assert {"SEC002", "VIEW001"} <= rules
