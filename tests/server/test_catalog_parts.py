"""What a plan shows of two kept catalogs: all that matters, bounded, and the same each time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from control_plane.domain.canonical import Json, digest
from control_plane.domain.run_record import Run
from control_plane.errors import Unavailable
from control_plane.facts.catalog import CatalogFacts
from control_plane.ports import Compared
from control_plane.store import rows, tables
from policies.errors import BinaryNotFound
from server import catalog_parts
from server.catalog import keep_copy, load, read_files
from server.catalog_parts import compared
from tests.support.house import House, build_house

NOW = "2030-01-01T09:00:00.000000Z"
INVOICES = "name: invoices\ndescription: Invoices.\nfields:\n  title: {kind: string}\n"
COMPANY = "  company:\n    kind: string\n    max_length: 200\n    nullable: true\n"
POLICY = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: rows_contacts
  version: default
  schemas:
    principalSchema: {ref: "cerbos:///principal.json"}
    resourceSchema: {ref: "cerbos:///rows_contacts.json"}
  rules:
    - name: all
      actions: [read, create, update]
      effect: EFFECT_ALLOW
      roles: [support]
"""
Compare = Callable[[str, str], Compared]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    """A workspace whose tests take their rows away again."""
    return build_house(tmp_path_factory.mktemp("parts"), cerbos_binary)


@pytest.fixture(scope="module")
def digests(house: House, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The catalog in force, and one that is otherwise in every way."""
    folder = tmp_path_factory.mktemp("changed") / "catalog"
    shutil.copytree(house.workspace.catalog, folder)
    contacts = folder / "collections" / "contacts.yaml"
    text = contacts.read_text()
    assert COMPANY in text
    contacts.write_text(text.replace(COMPANY, ""))
    (folder / "collections" / "invoices.yaml").write_text(INVOICES)
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "rows_contacts.yaml").write_text(POLICY)
    plans = folder / "plans.yaml"
    plans.write_text(plans.read_text().replace("name: free", "name: gratis", 1))
    coupons = folder / "coupons.yaml"
    more = "  - {code: MORE, title: More, percent_off: 5, duration: once}\n"
    coupons.write_text(coupons.read_text().replace('"20"', '"25"') + more)
    kept = keep_copy(house.workspace.catalogs, read_files(folder))
    return load(house.workspace.catalog).digest, kept.digest


@pytest.fixture(scope="module")
def compare(house: House) -> Compare:
    def one(before: str, after: str) -> Compared:
        with house.store() as store:
            return compared(house.workspace, lambda: house.cerbos, store, before, after)

    return one


@pytest.fixture(scope="module")
def found(compare: Compare, digests: tuple[str, str]) -> Compared:
    return compare(*digests)


def part(found: Compared, name: str) -> list[dict[str, Any]]:
    catalog: Any = found.parts["catalog"]
    listed: list[dict[str, Any]] = catalog[name]["shown"]
    return listed


def test_both_digests_and_every_kind_of_change_stand_in_the_part(
    found: Compared, digests: tuple[str, str]
) -> None:
    catalog: Any = found.parts["catalog"]
    assert (catalog["before"]["catalog"], catalog["after"]["catalog"]) == digests
    assert catalog["before"]["bundle"] != catalog["after"]["bundle"]
    moves = {(one["name"], one["kind"], one["loses_data"]) for one in part(found, "moves")}
    assert ("contacts.company", "drop_field", True) in moves
    assert ("invoices", "add_collection", False) in moves
    assert {(one["name"], one["change"]) for one in part(found, "offers")} == {
        ("free", "dropped"),
        ("gratis", "added"),
    }
    assert {(one["code"], one["change"]) for one in part(found, "coupons")} == {
        ("MORE", "added"),
        ("WELCOME20", "changed"),
    }
    # What is lost comes first, whatever it is called.
    assert part(found, "moves")[0]["name"] == "contacts.company"
    assert any(one["kind"] == "record invoices" for one in part(found, "rights"))
    assert any("CREATE TABLE" in text for text in catalog["statements"]["expand"]["shown"])
    assert any("contacts" in text for text in catalog["statements"]["contract"]["shown"])


def test_policy_is_told_the_counts(found: Compared) -> None:
    rights = part(found, "rights")
    assert found.facts == {
        "moves": len(part(found, "moves")),
        "refused_moves": 0,
        "loses_data": True,
        "policies_changed": True,
        "rights_changed": len(rights),
        "plans_dropped": 1,
        "voided": 0,
    }
    assert rights
    CatalogFacts.model_validate({"exists": True, "member": True, **found.facts})


@pytest.mark.long
def test_the_same_catalogs_make_the_same_part(
    compare: Compare, digests: tuple[str, str], found: Compared
) -> None:
    again = compare(*digests)
    assert again == found
    assert digest(again.parts) == digest(found.parts)


@pytest.fixture
def waiting(house: House) -> Iterator[None]:
    """A run of a tenant and one that applies a catalog, both made by the catalog in force."""
    plan: dict[str, Json] = {"catalog": load(house.workspace.catalog).digest, "parts": {}}
    for kind, tenant in (("onboard", "acme"), ("apply_catalog", "")):
        record = Run(
            id=f"run-{kind}",
            call_id="call",
            principal="alice",
            actor="alice",
            grant_id="grant",
            tenant=tenant,
            kind=kind,
            tool="tool",
            command={},
            state="awaiting_approval",
            as_of=NOW,
            seed="seed",
            dry_run=False,
            created_at=NOW,
            updated_at=NOW,
            plan=plan,
        )
        with house.store() as store, store.write() as connection:
            rows.put(connection, tables.run, record)
    yield
    with house.store() as store, store.write() as connection:
        connection.execute(delete(tables.run))


@pytest.mark.long
@pytest.mark.usefixtures("waiting")
def test_a_run_that_waits_is_told_but_not_one_that_applies_a_catalog(
    compare: Compare, digests: tuple[str, str]
) -> None:
    found = compare(*digests)
    assert [one["run_id"] for one in part(found, "voided")] == ["run-onboard"]
    assert found.facts["voided"] == 1


@pytest.mark.long
def test_a_long_list_is_cut_and_the_rest_is_counted(
    compare: Compare,
    digests: tuple[str, str],
    found: Compared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog_parts, "SHOWN_MAX", 1)
    monkeypatch.setattr(catalog_parts, "STATEMENT_CHARS_MAX", 12)
    cut = compare(*digests)
    assert cut.facts == found.facts
    catalog: Any = cut.parts["catalog"]
    for name in ("moves", "offers", "coupons", "rights"):
        whole = part(found, name)
        assert catalog[name] == {"shown": whole[:1], "left_out": len(whole) - 1}
        assert len(whole) > 1
    (text,) = catalog["statements"]["expand"]["shown"]
    assert (len(text), text[-1]) == (13, "…")


def test_a_catalog_and_itself_differ_in_nothing(compare: Compare, digests: tuple[str, str]) -> None:
    same = compare(digests[0], digests[0])
    assert not any(same.facts.values())
    assert part(same, "moves") == part(same, "rights") == []


def test_a_catalog_that_is_not_kept_is_named_as_absent(
    compare: Compare, digests: tuple[str, str]
) -> None:
    with pytest.raises(Unavailable) as caught:
        compare(digests[0], "0" * 64)
    assert caught.value.code == "catalog_absent"


def test_without_an_engine_nothing_is_compared(house: House, digests: tuple[str, str]) -> None:
    def none() -> Path:
        raise BinaryNotFound("there is no policy engine here")

    with house.store() as store, pytest.raises(Unavailable) as caught:
        compared(house.workspace, none, store, *digests)
    assert caught.value.code == "policy_engine_unavailable"
