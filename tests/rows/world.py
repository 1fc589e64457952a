"""A workspace full of drawn tables before real engines, and what stands in them. Holds no test."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import Connection, Table, select

from control_plane.audit.recorder import LeafRecorder
from control_plane.data.collection import Collection, bind_collections
from control_plane.data.rows import insert_row
from control_plane.data.tables import collection_table
from control_plane.domain.caller import Caller, Role
from control_plane.handlers.catalog_in_force import applied_digest
from control_plane.handlers.exactness import keep_proved
from policies.request import Attribute, Principal, Resource
from policies.row_policies import named_attributes
from server import keys
from server.clock import SystemClock
from server.front import Front
from server.ids import RandomIds
from server.wiring import Face
from tests.rows.drawn import (
    ANCHOR_IDS,
    ANCHORS,
    POOLS,
    DrawnTable,
    draw_values,
)
from tests.rows.truths import IMPLICIT, Typed, computed, plain, typed
from tests.support.house import House, build_house
from tests.support.onboarding import onboard
from tests.support.postgres import raze
from tests.support.workers import running_worker

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

TENANT, OTHER = "acme", "globex"
NEVER: Final = "ffffffff-ffff-4fff-8fff-ffffffffffff"
_ROWS, _FOREIGN_ROWS = 24, 4
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_PEOPLE: Final[tuple[tuple[str, str, tuple[Role, ...]], ...]] = (
    ("ann", "ann", ("support",)),
    ("ann", "bot", ("viewer", "support")),
    ("bob", "bob", ("platform_admin",)),
    ("bob", "a", ("support", "platform_admin")),
    ("zoe", "bot", ("platform_admin",)),
)
CALLERS: Final = tuple(
    Caller(
        principal=principal,
        actor=actor,
        actor_kind="human" if actor == principal else "agent",
        roles=roles,
        tenants=(TENANT,),
        grant_id=f"grant-{number}",
    )
    for number, (principal, actor, roles) in enumerate(_PEOPLE)
)


@dataclass
class Stand:
    """One table, and every row of the tenant in it as the test knows them."""

    drawn: DrawnTable
    collection: Collection
    named: frozenset[str]
    rows: dict[str, Typed] = field(default_factory=dict[str, Typed])
    foreign: dict[str, Typed] = field(default_factory=dict[str, Typed])

    @property
    def name(self) -> str:
        return self.drawn.name

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        fields: Mapping[str, Mapping[str, Any]] = self.drawn.declaration["fields"]
        return fields

    @property
    def kinds(self) -> dict[str, str]:
        """Of each column that can be named."""
        own = {name: str(one["kind"]) for name, one in self.fields.items()}
        # What is computed here is always a whole number.
        return {**IMPLICIT, **own, **({"made": "integer"} if "made" in own else {})}

    @property
    def group_actions(self) -> tuple[str, ...]:
        groups = {str(one["group"]) for one in self.fields.values()} - {"general"}
        return tuple(f"read_{group}" for group in sorted(groups))

    def actions_of(self, names: Iterable[str]) -> set[str]:
        """What must be allowed to name these columns, or to see them."""
        groups = {str(self.fields[name]["group"]) for name in names if name in self.fields}
        return {f"read_{group}" for group in groups - {"general"}}

    def settled(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """A row's typed fields, as they stand after what was sent."""
        row: dict[str, Any] = {}
        for name, one in self.fields.items():
            if one["kind"] != "computed":
                row[name] = typed(one["kind"], sent.get(name, one.get("default")))
        return self.computed(row)

    def computed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The same with what follows."""
        made = self.fields.get("made")
        return {**row, "made": computed(made["formula"], row)} if made else dict(row)


@dataclass
class World:
    """The face, and the tables."""

    face: Face
    stands: Sequence[Stand]
    keys: int = 0
    fronts: dict[str, Front] = field(default_factory=dict[str, Front])

    def ask(self, caller: Caller, tool: str, **arguments: Any) -> dict[str, Any]:
        """An answer, or `{"bad_input": ...}`."""
        front = self.fronts.setdefault(caller.grant_id, self.face.front_for(lambda: caller))
        answered = front.call(tool, {"tenant": TENANT, **arguments})
        if answered.outcome is None:
            return {"bad_input": answered.bad_input}
        return answered.outcome.answer()

    def fresh_key(self) -> str:
        self.keys += 1
        return f"key-of-a-case-{self.keys:06d}"

    def may(
        self,
        caller: Caller,
        stand: Stand,
        images: Mapping[str, Mapping[str, Any]],
        actions: Sequence[str],
    ) -> dict[str, frozenset[str]]:
        """Of each image what the policy engine allows, asked row by row: the measure of all."""
        if not images:
            return {}
        principal = Principal(
            caller.principal,
            caller.roles,
            {"actor_kind": caller.actor_kind, "actor": caller.actor},
        )
        attributes: dict[str, dict[str, Attribute]] = {
            row_id: {name: plain(image[name]) for name in stand.named}
            for row_id, image in images.items()
        }
        asked = [
            Resource(f"rows_{stand.name}", row_id, attr, tuple(actions))
            for row_id, attr in attributes.items()
        ]
        return {
            one.id: frozenset(action for action in actions if one.allows(action))
            for one in self.face.generations.gate.check(principal, asked)
        }

    def standing(self, stand: Stand, tenant: str = TENANT) -> dict[str, Typed]:
        """The rows as the tenant's database has them."""
        table = collection_table(stand.collection)
        with self.face.databases.main.reading(tenant, "pooled") as connection:
            query = select(table).where(table.c.tenant_id == tenant)
            found = [dict(row) for row in connection.execute(query).mappings()]
        for row in found:
            del row["tenant_id"]
        return {str(row["id"]): row for row in found}


@contextmanager
def opened_world(
    folder: Path,
    cerbos: Path,
    seed: int,
    drawn: Sequence[DrawnTable],
    server: Postgres | None,
    tenants: Sequence[str] = (TENANT, OTHER),
) -> Generator[World]:
    """Many collections and their policies in one catalog; one engine, one worker, its tenants."""
    catalog = folder / "catalog"
    _write(catalog, drawn)
    limits = {"gate_deadline_s": "20", "call_deadline_s": "60"}
    house = build_house(folder / "house", cerbos, limits=limits, postgres=server, catalog=catalog)
    with ExitStack() as stack:
        if server is not None:
            stack.callback(raze, server, house.workspace.id)
        _say_proved(house, drawn)
        stack.enter_context(running_worker(house))
        face = stack.enter_context(house.face(house.issue("operator", ",".join(tenants))))
        for tenant in tenants:
            onboard(face, tenant)
        yield World(face, _filled(face, catalog, drawn, seed, tenants))


def _say_proved(house: House, drawn: Sequence[DrawnTable]) -> None:
    """As if each mode had been proved to be what it is: the sums are the proof here."""
    public = keys.load_public(house.workspace.keys)
    recorder = LeafRecorder(public.seal_bytes, SystemClock(), RandomIds())
    exact = {one.name: one.mode != "loose" for one in drawn}
    with house.store() as store, store.write() as connection:
        digest = applied_digest(connection)
        assert digest is not None
        keep_proved(connection, recorder, digest, exact, plain(_NOW))


def _write(catalog: Path, drawn: Sequence[DrawnTable]) -> None:
    files = {path: text for one in drawn for path, text in one.files.items()}
    files[f"collections/{ANCHORS}.yaml"] = (
        '{"name": "anchors", "description": "x", "fields": {"title": {"kind": "string"}}}'
    )
    for path, text in files.items():
        (catalog / path).parent.mkdir(parents=True, exist_ok=True)
        (catalog / path).write_text(text)


def _filled(
    face: Face, catalog: Path, drawn: Sequence[DrawnTable], seed: int, tenants: Sequence[str]
) -> list[Stand]:
    rules = named_attributes(catalog / "policies")
    anchors = Collection.model_validate(
        {"name": ANCHORS, "description": "x", "fields": {"title": {"kind": "string"}}}
    )
    declared = bind_collections(
        [anchors, *(Collection.model_validate_json(_json(one)) for one in drawn)]
    )
    stands = [
        Stand(one, collection, rules[f"rows_{one.name}"])
        for one, collection in zip(drawn, declared[1:], strict=True)
    ]
    for tenant in tenants:
        with face.databases.main.transaction(tenant, "pooled") as connection:
            for anchor in ANCHOR_IDS:
                table = collection_table(anchors)
                insert_row(connection, table, tenant, anchor, {"title": "x"}, now=_NOW)
            for stand in stands:
                _fill(connection, stand, tenant, random.Random(f"{seed}/{tenant}/{stand.name}"))
    return stands


def _json(drawn: DrawnTable) -> str:
    return drawn.files[f"collections/{drawn.name}.yaml"]


def _fill(connection: Connection, stand: Stand, tenant: str, chance: random.Random) -> None:
    table: Table = collection_table(stand.collection)
    for _ in range(_ROWS if tenant == TENANT else _FOREIGN_ROWS):
        row_id = str(UUID(int=chance.getrandbits(128), version=4))
        row = stand.settled(draw_values(chance, stand.drawn.declaration))
        sent = {name: value for name, value in row.items() if name != "made"}
        insert_row(connection, table, tenant, row_id, sent, now=_NOW)
        whole = {"id": row_id, "version": 1, "created_at": _NOW, **row}
        (stand.rows if tenant == TENANT else stand.foreign)[row_id] = whole


def pool(stand: Stand, name: str) -> Sequence[Any]:
    """Values to compare a column with, as they are sent."""
    if name == "id":
        return [*sorted(stand.rows)[:3], NEVER]
    if name == "version":
        return [1, 2, 3]
    if name == "created_at":
        return [plain(_NOW)]
    values: Sequence[Any] = stand.fields[name].get("values", POOLS[stand.kinds[name]])
    return values
