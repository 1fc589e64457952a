"""The `audit` commands over a small log without a worker. Not what each tamper looks like: see `tests/tampers`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import insert, update
from typer.testing import CliRunner

from control_plane.audit.note import parse_verifier_key
from control_plane.audit.recorder import LeafRecorder
from control_plane.audit.sequencer import Sequencer
from control_plane.store import tables
from control_plane.store.log import StoredLog
from server import keys
from server.auditing import Auditing
from server.cli.app import app
from server.clock import SystemClock
from server.grants import newest
from server.ids import RandomIds
from tests.support.house import House, build_house

Audit = Callable[..., tuple[int, str, str]]
SECRET = "an-argument-that-only-the-payload-has"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> tuple[House, Path]:
    """A workspace whose log has the leaves of `init` and of one token; and a copy of its state."""
    folder = tmp_path_factory.mktemp("auditing")
    made = build_house(folder / "house", folder / "no-policy-engine")
    made.issue("viewer", "acme")
    shutil.copytree(made.workspace.state, folder / "pristine")
    return made, folder / "pristine"


@pytest.fixture
def house(founded: tuple[House, Path]) -> House:
    """That workspace as it was made: each test may ruin it."""
    made, pristine = founded
    shutil.rmtree(made.workspace.state)
    shutil.copytree(pristine, made.workspace.state)
    return made


@pytest.fixture
def audit(house: House) -> Audit:
    def run(*arguments: object) -> tuple[int, str, str]:
        environment = {**house.environment, "COLUMNS": "300"}
        words = ["audit", *map(str, arguments)]
        done = CliRunner().invoke(app, words, env=environment)
        return done.exit_code, done.stdout, done.stderr

    return run


def sequence(house: House) -> int:
    seed = keys.load(house.workspace.keys).audit_seed
    with house.store() as store:
        origin = house.workspace.log_origin
        return Sequencer(StoredLog(store), seed, origin, SystemClock().now).step()


def record(house: House, tenant: str) -> None:
    """A leaf about a tenant whose name a run has held."""
    public = keys.load_public(house.workspace.keys)
    recorder = LeafRecorder(public.seal_bytes, SystemClock(), RandomIds())
    with house.store() as store, store.write() as connection:
        connection.execute(insert(tables.fence).values(tenant=tenant, epoch=0, run_id=None))
        recorder.record(connection, "read", tenant, {"argument": SECRET})


def exported(audit: Audit, tmp_path: Path, name: str = "export") -> Path:
    file = tmp_path / name
    code, _, error = audit("export", "--out", file)
    assert code == 0, error
    return file


# verify ------------------------------------------------------------------------------------------


def test_an_untouched_workspace_is_intact_and_says_size_root_and_rollback(
    house: House, audit: Audit
) -> None:
    sequence(house)
    code, out, error = audit("verify")
    assert (code, error) == (0, "")
    assert out.splitlines()[0] == "leaves: 3"
    assert out.splitlines()[1].startswith("root: ")
    assert "cannot be excluded" in out
    assert out.splitlines()[-1] == "intact"


def test_leaves_that_wait_for_the_worker_are_told_and_are_no_tamper(
    house: House, audit: Audit
) -> None:
    code, out, error = audit("verify")
    assert code == 0
    assert "leaves_unsequenced: 3 leaves wait" in error
    assert "leaves_unsequenced" not in out
    assert sequence(house) == 3
    assert audit("verify")[2] == ""


def test_a_row_altered_while_leaves_wait_is_found_all_the_same(house: House, audit: Audit) -> None:
    with house.store() as store, store.write() as connection:
        connection.execute(update(tables.grant).values(principal="mallory"))
    code, out, _ = audit("verify")
    assert code == 1
    assert "row_altered" in out
    assert out.splitlines()[-1] == "not intact"


def test_an_alteration_stays_visible_under_a_later_change_of_the_same_row(
    house: House, audit: Audit
) -> None:
    sequence(house)
    with house.store() as store:
        with store.write() as connection:
            connection.execute(update(tables.grant).values(roles=["platform_admin"]))
        with store.read() as connection:
            (grant,) = newest(connection)
    done = CliRunner().invoke(app, ["token", "revoke", grant.id], env=house.environment)
    assert done.exit_code == 0
    sequence(house)
    code, out, _ = audit("verify")
    assert (code, f"access_grant {grant.id}: altered before index 3" in out) == (1, True)


def test_every_setting_key_and_the_catalog_has_a_leaf_from_init_on(house: House) -> None:
    with house.store() as store:
        entries = Auditing(house.workspace, store).newest(10)
    said = {(guard.table, guard.key) for one in entries for guard in one.leaf.guards}
    assert [one.leaf.kind for one in entries] == [
        "grant.issued",
        "catalog.applied",
        "workspace.initialised",
    ]
    assert said >= {("$key", name) for name in ("issuer", "audit", "seal", "root")}
    assert said >= {("$catalog", "applied"), ("setting", "catalog.digest")}
    assert said >= {("setting", "approval.rule"), ("setting", "keys.public")}


def test_a_checkpoint_kept_elsewhere_excludes_a_rollback(
    house: House, audit: Audit, tmp_path: Path
) -> None:
    sequence(house)
    assert audit("checkpoint", "--out", tmp_path / "kept")[0] == 0
    house.issue("viewer", "acme")
    sequence(house)
    key = audit("key")[1].strip()
    code, out, _ = audit("verify", "--checkpoint", tmp_path / "kept", "--key", key)
    assert (code, "extends the checkpoint" in out) == (0, True)


def test_public_keys_that_do_not_read_are_findings_for_who_brings_the_key(
    house: House, audit: Audit
) -> None:
    sequence(house)
    key = audit("key")[1].strip()
    (house.workspace.keys / "public.json").unlink()
    code, out, _ = audit("verify", "--key", key)
    assert code == 1
    assert out.count("key_changed") == 5
    code, _, error = audit("verify")
    assert (code, error.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE audit_leaf SET guards = '{broken'", "leaf_malformed"),
        ("UPDATE audit_leaf SET kind = 'Not A Kind'", "leaf_malformed"),
        ("UPDATE setting SET value = '{broken'", "row_altered"),
        (
            "UPDATE setting SET value = '\"../../..\"' WHERE name = 'catalog.digest'",
            "catalog_changed",
        ),
        ("UPDATE checkpoint SET note = 'broken'", "checkpoint_malformed"),
        ("UPDATE checkpoint SET frontier = 'broken'", "head_mismatch"),
        ("UPDATE checkpoint SET signed_at = 'broken'", "no longer read"),
    ],
)
def test_whatever_the_store_has_become_the_answer_is_a_report_or_one_line(
    house: House, audit: Audit, statement: str, told: str
) -> None:
    sequence(house)
    with house.store() as store, store.write() as connection:
        connection.exec_driver_sql(statement)
    code, out, error = audit("verify")
    assert code == 1
    assert told in out + error
    assert error.count("\n") <= 1


def test_a_malformed_key_is_named_in_one_line(audit: Audit) -> None:
    code, _, error = audit("verify", "--key", "not a key")
    assert (code, error.count("\n")) == (1, 1)
    assert "verifier key" in error


# show --------------------------------------------------------------------------------------------


def test_show_lists_the_newest_leaves_with_their_rows_and_no_payload(
    house: House, audit: Audit
) -> None:
    sequence(house)
    record(house, "acme")
    code, out, _ = audit("show", "--limit", 2)
    assert code == 0
    lines = out.splitlines()
    assert "waits" in lines[4]
    assert "access_grant:" in lines[5]
    assert "workspace.initialised" not in out
    assert SECRET not in out


def test_show_of_one_tenant_opens_its_payloads_with_the_workers_key(
    house: House, audit: Audit
) -> None:
    record(house, "acme")
    record(house, "globex")
    code, out, _ = audit("show", "--tenant", "acme", "--open")
    assert code == 0
    (line,) = out.splitlines()
    shown = json.loads(line)
    assert shown["payload"] == {"argument": SECRET}
    assert (shown["tenant"], shown["index"], shown["closed"]) == ("acme", None, None)


def test_a_tenants_payloads_are_closed_once_its_key_is_shredded_and_the_log_stays_intact(
    house: House, audit: Audit
) -> None:
    record(house, "acme")
    sequence(house)
    with house.store() as store, store.write() as connection:
        connection.execute(update(tables.tenant_key).values(wrapped_private=None))
    _, out, _ = audit("show", "--tenant", "acme", "--open")
    shown = json.loads(out)
    assert (shown["payload"], shown["closed"]) == (None, "key_shredded")
    assert audit("verify")[0] == 0


def test_who_does_not_hold_the_workers_key_opens_nothing(house: House, audit: Audit) -> None:
    (house.workspace.keys / "seal.key").unlink()
    code, out, error = audit("show", "--open")
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert audit("show")[0] == 0


# export ------------------------------------------------------------------------------------------


def test_an_export_is_verified_without_the_workspace(
    house: House, audit: Audit, tmp_path: Path
) -> None:
    sequence(house)
    file, key = exported(audit, tmp_path), audit("key")[1].strip()
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_text() == audit("export")[1]
    done = CliRunner().invoke(
        app,
        ["audit", "verify-export", str(file), "--key", key],
        env={"PAYBILL_HOME": str(tmp_path / "nobody"), "PAYBILL_WORKSPACE": str(tmp_path)},
    )
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "leaves: 3")
    assert done.stdout.splitlines()[-1] == "intact"


@pytest.mark.long
def test_an_export_is_held_against_a_checkpoint_kept_elsewhere(
    house: House, audit: Audit, tmp_path: Path
) -> None:
    sequence(house)
    key, older = audit("key")[1].strip(), exported(audit, tmp_path, "older")
    house.issue("viewer", "acme")
    sequence(house)
    newer = exported(audit, tmp_path, "newer")
    audit("checkpoint", "--out", tmp_path / "kept")
    kept = ("--key", key, "--checkpoint", tmp_path / "kept")
    code, out, _ = audit("verify-export", newer, *kept)
    assert (code, "extends the checkpoint" in out) == (0, True)
    code, out, _ = audit("verify-export", older, *kept)
    assert (code, "rolled_back" in out) == (1, True)


def altered(lines: list[str], number: int, field: str, value: object) -> list[str]:
    entry = json.loads(lines[number])
    entry["leaf"][field] = value
    return [*lines[:number], json.dumps(entry), *lines[number + 1 :]]


TAMPERS: list[tuple[Callable[[list[str]], list[str]], str]] = [
    (lambda lines: altered(lines, 1, "tenant", "other"), "root_mismatch"),
    (lambda lines: altered(lines, 3, "guards", []), "root_mismatch"),
    (lambda lines: lines[:-1], "log_truncated"),
    (lambda lines: [*lines, lines[-1]], "export_malformed"),
    (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "export_malformed"),
    (lambda lines: [lines[0], "{}", *lines[2:]], "export_malformed"),
    (lambda lines: [lines[0], "\udcff", *lines[2:]], "export_malformed"),
    (lambda lines: ["", *lines], "export_malformed"),
    (lambda _: [], "export_malformed"),
    (lambda lines: [lines[0].replace("\\n3\\n", "\\n4\\n"), *lines[1:]], "signature_false"),
]


@pytest.mark.slice_of(4)
@pytest.mark.parametrize(
    ("tamper", "told"),
    TAMPERS,
    ids=[
        "a field",
        "the guards",
        "cut",
        "a line twice",
        "another order",
        "a line that is no leaf",
        "bytes that are no text",
        "an empty first line",
        "nothing",
        "the checkpoint",
    ],
)
def test_an_altered_export_is_found(
    house: House,
    audit: Audit,
    tmp_path: Path,
    tamper: Callable[[list[str]], list[str]],
    told: str,
) -> None:
    sequence(house)
    lines = exported(audit, tmp_path).read_text().splitlines()
    forged = tmp_path / "forged"
    text = "".join(line + "\n" for line in tamper(lines))
    assert text.splitlines() != lines
    forged.write_bytes(text.encode(errors="surrogateescape"))
    code, out, _ = audit("verify-export", forged, "--key", audit("key")[1].strip())
    assert (code, told in out) == (1, True)


def test_an_export_under_another_key_is_found(house: House, audit: Audit, tmp_path: Path) -> None:
    sequence(house)
    other = build_house(tmp_path / "other", tmp_path / "none")
    with other.store() as store:
        key = Auditing(other.workspace, store).verifier_key()
    code, out, _ = audit("verify-export", exported(audit, tmp_path), "--key", key)
    assert (code, "signing_key_replaced" in out) == (1, True)


# key and checkpoint ------------------------------------------------------------------------------


def test_the_key_is_the_logs_own_under_its_name(house: House, audit: Audit) -> None:
    key = parse_verifier_key(audit("key")[1].strip())
    assert key.name == house.workspace.log_origin
    assert key.public == keys.load_public(house.workspace.keys).audit_bytes


@pytest.mark.parametrize("command", ["checkpoint", "export"])
def test_before_the_first_checkpoint_there_is_none_to_hand_out(
    audit: Audit, tmp_path: Path, command: str
) -> None:
    code, out, error = audit(command, "--out", tmp_path / "out")
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert "checkpoint" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["checkpoint", "export"])
def test_a_file_that_stands_is_never_written_over(
    house: House, audit: Audit, tmp_path: Path, command: str
) -> None:
    sequence(house)
    (tmp_path / "kept").write_text("the one that proves the rollback")
    code, _, error = audit(command, "--out", tmp_path / "kept")
    assert (code, "--out" in error) == (1, True)
    assert (tmp_path / "kept").read_text() == "the one that proves the rollback"


def test_a_forged_checkpoint_is_not_handed_out(house: House, audit: Audit) -> None:
    sequence(house)
    note = audit("checkpoint")[1]
    assert note.splitlines()[1] == "3"
    with house.store() as store, store.write() as connection:
        connection.execute(update(tables.checkpoint).values(note=note.replace("\n3\n", "\n2\n")))
    code, out, _ = audit("checkpoint")
    assert (code, out) == (1, "")
