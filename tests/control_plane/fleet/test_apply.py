"""One migration in one place: once, whole, with its row there; both engines, every isolation model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Integer, String, column, insert, select, table, text

from control_plane.data.collection import Collection
from control_plane.databases.altering import Bounds
from control_plane.databases.migrated import migrated, team_tables
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.isolation import Isolation
from control_plane.errors import Failed, NotFound, Refused
from control_plane.fleet.apply import Applying, Receipt, StatementFailed, apply
from control_plane.fleet.checker import Ready, ready, require_sound
from control_plane.fleet.shape import standing
from tests.support.evolutions import declared
from tests.support.fleet_files import FILES, contract, first, header

# One model of each engine, another one from test to test.
pytestmark = pytest.mark.slice_of(3)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
BOUNDS = Bounds(1_000, 5_000)
NOTE = table(
    "note",
    *(column(one, String) for one in ("tenant_id", "id", "body", "title")),
    column("rank", Integer),
)


class Fleet:
    """One engine, and who applies which files there."""

    def __init__(self, engine: DatabaseEngine, model: Isolation, people: Collection) -> None:
        self.engine = engine
        self.model: Isolation = model
        self.people = people

    def made(self, *tenants: str) -> None:
        for tenant in tenants:
            self.engine.create(tenant, self.model, [self.people], 1)

    def texts(self, files: dict[str, bytes]) -> Sequence[Ready]:
        made = require_sound(files, {"contacts"})
        with self.engine.altering("acme", self.model) as place:
            return ready(made, place.dialect, {"contacts"})

    def bring(self, tenant: str, files: dict[str, bytes], *, epoch: int = 1) -> list[Receipt]:
        by = Applying(tenant, epoch, [self.people], NOW)
        made = require_sound(files, {"contacts"})
        with self.engine.altering(tenant, self.model) as place:
            return [apply(place, one, by) for one in ready(made, place.dialect, {"contacts"})]

    def write(self, tenant: str, **values: object) -> None:
        with self.engine.transaction(tenant, self.model) as connection:
            connection.execute(insert(NOTE).values(tenant_id=tenant, **values))

    def read(self, tenant: str, name: str) -> list[object]:
        wanted = select(NOTE.c[name]).where(NOTE.c.tenant_id == tenant).order_by(NOTE.c.id)
        with self.engine.reading(tenant, self.model) as connection:
            return list(connection.execute(wanted).scalars())

    def ready(self, *tenants: str) -> bool:
        found = {self.engine.probe(one, self.model, [self.people]) for one in tenants}
        return found == {"ready"}

    def as_left(self, tenant: str) -> bool:
        with self.engine.reading(tenant, self.model) as connection:
            return standing(connection, migrated(connection))[1]


@pytest.fixture
def fleet(engine: DatabaseEngine, model: Isolation, people: Collection) -> Fleet:
    made = Fleet(engine, model, people)
    made.made("acme", "globex")
    return made


@pytest.mark.long_but_one
def test_every_migration_is_had_once_and_the_place_stays_ready(fleet: Fleet) -> None:
    told = fleet.bring("acme", first(1))
    fleet.bring("globex", first(1))
    assert [one.fresh for one in told] == [True]
    fleet.write("acme", id="1", body="Hello", rank=2)
    fleet.write("globex", id="1", body="OTHER", rank=1)
    rest = fleet.bring("acme", first(3))
    others = fleet.bring("globex", first(3))
    assert [one.fresh for one in rest] == [False, True, True]
    # Where tables are shared, the first one's turn was everybody's; each has its receipt.
    shared = fleet.model == "pooled"
    assert [one.fresh for one in others] == [False, not shared, not shared]
    assert [(one.before, one.after) for one in others] == [(one.before, one.after) for one in rest]
    assert [one.after for one in rest[:-1]] == [one.before for one in rest[1:]]
    # A backfill reaches every tenant's rows, and none the other's.
    assert (fleet.read("acme", "title"), fleet.read("globex", "title")) == (["hello"], ["other"])
    assert fleet.ready("acme", "globex")
    assert fleet.as_left("acme")
    again = fleet.bring("acme", first(3))
    assert [one.fresh for one in again] == [False] * 3
    assert [(one.before, one.after) for one in again] == [(one.before, one.after) for one in rest]


@pytest.mark.long_but_one
def test_a_contract_takes_away_and_leaves_no_trace_of_rows(fleet: Fleet) -> None:
    fleet.bring("acme", dict(FILES))
    fleet.bring("globex", dict(FILES))
    more = {**FILES, "0005_gone.sql": (contract("0001_notes") + "DROP TABLE note;").encode()}
    fleet.bring("acme", more)
    fleet.bring("globex", more)
    with fleet.engine.reading("globex", fleet.model) as connection:
        assert team_tables(connection) == {"paybill_migrated"}
    assert fleet.ready("acme", "globex")


@pytest.mark.long_but_one
def test_one_that_fails_leaves_nothing_and_tells_its_line(fleet: Fleet) -> None:
    fleet.bring("acme", first(1))
    fleet.write("acme", id="1", body="text", rank=2)
    wrong = header() + "ALTER TABLE note ADD COLUMN n int;\nUPDATE note SET rank = NULL;\n"
    files = {**first(1), "0002_wrong.sql": wrong.encode()}
    with pytest.raises(StatementFailed) as caught:
        fleet.bring("acme", files)
    assert caught.value.code == "constraint"
    assert caught.value.place == f"0002_wrong.sql:{header().count(chr(10)) + 2}"
    assert fleet.as_left("acme")
    with fleet.engine.reading("acme", fleet.model) as connection:
        assert list(migrated(connection)) == [1]
    assert fleet.bring("acme", first(2))[1].fresh


@pytest.mark.long_but_one
def test_a_tenant_leaves_and_another_comes_with_what_stands(fleet: Fleet) -> None:
    fleet.bring("acme", first(2))
    fleet.bring("globex", first(2))
    fleet.write("acme", id="1", body="text", rank=2)
    fleet.engine.drop("acme", fleet.model, 2)
    with pytest.raises(NotFound):
        fleet.bring("acme", first(2), epoch=2)
    fleet.made("umbrella")
    assert [one.fresh for one in fleet.bring("umbrella", first(2))] == [fleet.model != "pooled"] * 2
    assert fleet.ready("globex", "umbrella")


def test_what_was_changed_by_hand_is_seen_and_nothing_is_built_on_it(fleet: Fleet) -> None:
    fleet.bring("acme", first(1))
    with (
        fleet.engine.altering("acme", fleet.model) as place,
        place.transaction(BOUNDS) as connection,
    ):
        connection.execute(text("ALTER TABLE note ADD COLUMN by_hand int"))
    assert not fleet.as_left("acme")
    with pytest.raises(Refused) as caught:
        fleet.bring("acme", first(2))
    assert caught.value.code == "schema_drifted"


def test_an_edited_or_left_out_migration_is_refused(fleet: Fleet) -> None:
    fleet.bring("acme", first(1))
    edited = {"0001_notes.sql": FILES["0001_notes.sql"] + b"\n"}
    with pytest.raises(Refused) as caught:
        fleet.bring("acme", edited)
    assert caught.value.code == "migration_edited"
    by = Applying("acme", 1, [fleet.people], NOW)
    last = fleet.texts(dict(FILES))[3]
    with fleet.engine.altering("acme", fleet.model) as place, pytest.raises(Refused) as left_out:
        apply(place, last, by)
    assert left_out.value.code == "migration_out_of_order"


def test_an_earlier_run_is_fenced_off(fleet: Fleet) -> None:
    fleet.engine.fence("acme", fleet.model, 7, open=False)
    with pytest.raises(Refused) as caught:
        fleet.bring("acme", first(1), epoch=6)
    assert caught.value.code == "fenced"
    # A tenant that is shut is migrated all the same.
    assert fleet.bring("acme", first(1), epoch=7)[0].fresh


def test_sqlite_has_nothing_outside_of_a_transaction(fleet: Fleet) -> None:
    with fleet.engine.altering("acme", fleet.model) as place:
        if place.dialect == "postgres":
            with place.statements(BOUNDS) as session:
                assert session.execute(text("SELECT current_schema()")).scalar()
            return
        with pytest.raises(Failed) as caught, place.statements(BOUNDS):
            pass
    assert caught.value.code == "not_transactional"


@pytest.mark.long_but_one
def test_a_catalog_that_changes_beside_it_leaves_the_teams_tables_as_they_are(
    fleet: Fleet,
) -> None:
    fleet.bring("acme", first(3))
    before = [fleet.people]
    after = [fleet.people, declared("badges", {"label": {"kind": "string", "max_length": 20}})]
    for phase in ("expand", "contract"):
        for tenant in ("acme", "globex"):
            fleet.engine.migrate(tenant, fleet.model, before, after, phase, 1)
        assert fleet.engine.probe("acme", fleet.model, after) == "ready"
        assert fleet.as_left("acme")
