"""A sealed plan artifact comes back whole and in time, or not at all. Not what a plan is."""

from __future__ import annotations

import pytest

from control_plane.errors import Refused
from control_plane.secrets.box import new_keypair
from control_plane.store import tables
from control_plane.store.artifacts import SealedArtifacts
from control_plane.store.sqlite import SqliteStore

PRIVATE, PUBLIC = new_keypair()
NOW = "2026-01-02T03:04:05.000000Z"
LATER = "2026-01-02T04:00:00.000000Z"
MUCH_LATER = "2026-02-01T00:00:00.000000Z"
CONTENT = b"plan file, lock file, planted-secret-7f3a"


@pytest.fixture
def artifacts(store: SqliteStore) -> SealedArtifacts:
    return SealedArtifacts(store, PUBLIC, PRIVATE)


def put(store: SqliteStore, artifacts: SealedArtifacts, run: str = "run", **at: str) -> str:
    with store.write() as connection:
        return artifacts.put(connection, run, CONTENT, at.get("expires_at", LATER))


def refusal(artifacts: SealedArtifacts, reference: str, now: str = NOW) -> str:
    with pytest.raises(Refused) as refused:
        artifacts.get(reference, now)
    return refused.value.code


def alter(store: SqliteStore, reference: str, **values: object) -> None:
    table = tables.artifact
    with store.write() as connection:
        connection.execute(table.update().where(table.c.id == reference).values(**values))


def sealed_of(store: SqliteStore, reference: str) -> bytes:
    table = tables.artifact
    with store.read() as connection:
        found = connection.execute(table.select().where(table.c.id == reference)).one()
        return bytes(found.sealed)


def test_what_was_put_comes_back(store: SqliteStore, artifacts: SealedArtifacts) -> None:
    assert artifacts.get(put(store, artifacts), NOW) == CONTENT


def test_what_is_stored_shows_nothing_and_opens_for_the_workspace_alone(
    store: SqliteStore, artifacts: SealedArtifacts
) -> None:
    reference = put(store, artifacts)
    files = [path for path in store.path.parent.iterdir() if path.is_file()]
    assert files
    assert not any(b"planted-secret" in path.read_bytes() for path in files)
    stranger, public = new_keypair()
    assert refusal(SealedArtifacts(store, public, stranger), reference) == "artifact_altered"


def test_an_artifact_dies_at_its_expiry(store: SqliteStore, artifacts: SealedArtifacts) -> None:
    reference = put(store, artifacts)
    assert artifacts.get(reference, "2026-01-02T03:59:59.999999Z") == CONTENT
    assert refusal(artifacts, reference, LATER) == "artifact_expired"


def test_an_expiry_that_was_put_off_in_the_row_opens_nothing(
    store: SqliteStore, artifacts: SealedArtifacts
) -> None:
    reference = put(store, artifacts)
    alter(store, reference, expires_at=MUCH_LATER)
    assert refusal(artifacts, reference, LATER) == "artifact_altered"


def test_an_altered_box_is_refused(store: SqliteStore, artifacts: SealedArtifacts) -> None:
    reference = put(store, artifacts)
    sealed = sealed_of(store, reference)
    for altered in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:-1], b""):
        alter(store, reference, sealed=altered)
        assert refusal(artifacts, reference) == "artifact_altered"


def test_another_run_on_the_row_is_refused(store: SqliteStore, artifacts: SealedArtifacts) -> None:
    reference = put(store, artifacts)
    alter(store, reference, run_id="other")
    assert refusal(artifacts, reference) == "artifact_altered"


def test_boxes_swapped_between_two_rows_are_refused(
    store: SqliteStore, artifacts: SealedArtifacts
) -> None:
    one, other = put(store, artifacts, "one"), put(store, artifacts, "other")
    boxes = {one: sealed_of(store, other), other: sealed_of(store, one)}
    for reference, sealed in boxes.items():
        alter(store, reference, sealed=sealed)
    assert {refusal(artifacts, reference) for reference in boxes} == {"artifact_altered"}


def test_whole_rows_that_change_their_names_are_refused(
    store: SqliteStore, artifacts: SealedArtifacts
) -> None:
    one, other = put(store, artifacts, "one"), put(store, artifacts, "other")
    alter(store, one, id="aside")
    alter(store, other, id=one)
    alter(store, "aside", id=other)
    assert {refusal(artifacts, name) for name in (one, other)} == {"artifact_altered"}


def test_a_missing_artifact_is_named(store: SqliteStore, artifacts: SealedArtifacts) -> None:
    assert refusal(artifacts, "f" * 64) == "artifact_missing"
    reference = put(store, artifacts)
    for _ in range(2):  # to drop what is gone is no error
        with store.write() as connection:
            artifacts.drop(connection, reference)
    assert refusal(artifacts, reference) == "artifact_missing"


def test_a_run_has_one_artifact_the_last(store: SqliteStore, artifacts: SealedArtifacts) -> None:
    first = put(store, artifacts)
    with store.write() as connection:
        second = artifacts.put(connection, "run", b"another plan", LATER)
    assert refusal(artifacts, first) == "artifact_missing"
    assert artifacts.get(second, NOW) == b"another plan"


def test_an_artifact_rolls_back_with_its_transaction(
    store: SqliteStore, artifacts: SealedArtifacts
) -> None:
    made: list[str] = []

    def change() -> None:
        with store.write() as connection:
            made.append(artifacts.put(connection, "run", CONTENT, LATER))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    assert refusal(artifacts, made[0]) == "artifact_missing"


def test_a_sweep_forgets_what_has_expired_and_nothing_else(
    store: SqliteStore, artifacts: SealedArtifacts
) -> None:
    old = put(store, artifacts, "old", expires_at=NOW)
    young = put(store, artifacts, "young")
    with store.write() as connection:
        assert artifacts.sweep(connection, NOW) == 1
        assert artifacts.sweep(connection, NOW) == 0
    assert refusal(artifacts, old) == "artifact_missing"
    assert artifacts.get(young, NOW) == CONTENT
