"""Posture alone: what an auditor finds who keeps the key and one checkpoint elsewhere. Prevents nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control_plane.audit.report import FindingCode
from control_plane.handlers.catalog_in_force import applied_digest
from server import catalog
from server.cli.app import app
from tests.tampers.conftest import Standing
from tests.tampers.forger import (
    alter,
    ask,
    cut_log,
    replace_audit_key,
    rewrite_guard,
    sign_again,
    stolen_audit_seed,
    swap_store,
)

Verify = Callable[..., tuple[int, set[str], str]]
ROLLBACK_POSSIBLE = "A rollback of the whole store cannot be excluded"
NOT_EXTENDED = "The log does not extend the checkpoint that was kept elsewhere"
ROLLBACK_EXCLUDED = "The log extends the checkpoint that was kept elsewhere."


@pytest.fixture
def verify(standing: Standing) -> Verify:
    """`verify(checkpoint=True, key=False)`: exit code, codes found and the whole report."""

    def run(*, checkpoint: bool = True, key: bool = False) -> tuple[int, set[str], str]:
        options = ["--checkpoint", str(standing.checkpoint)] if checkpoint else []
        options += ["--key", standing.key] if key else []
        environment = {**standing.house.environment, "COLUMNS": "300"}
        done = CliRunner().invoke(app, ["audit", "verify", *options], env=environment)
        found = {code.value for code in FindingCode if re.search(rf"\b{code}\b", done.stdout)}
        return done.exit_code, found, done.stdout

    return run


def test_what_nobody_altered_is_intact(verify: Verify) -> None:
    code, found, said = verify(key=True)
    assert (code, found) == (0, set())
    assert ROLLBACK_EXCLUDED in said
    assert said.splitlines()[-1] == "intact"


def test_without_a_checkpoint_the_report_says_that_a_rollback_cannot_be_excluded(
    verify: Verify,
) -> None:
    code, found, said = verify(checkpoint=False)
    assert (code, found) == (0, set())
    assert ROLLBACK_POSSIBLE in said


def test_every_kind_of_guarded_row_stands_in_the_prepared_workspace(standing: Standing) -> None:
    for table in (
        "tenant",
        "subscription",
        "access_grant",
        "approver",
        "approval",
        "setting",
        "handover",
    ):
        assert ask(standing.house, f"SELECT count(*) FROM {table}"), table  # noqa: S608 - a fixed name


def test_an_altered_tenant_is_found(standing: Standing, verify: Verify) -> None:
    alter(standing.house, "UPDATE tenant SET plan = 'business' WHERE id = 'acme'")
    assert verify()[:2] == (1, {"row_altered"})


def test_a_deleted_subscription_is_found(standing: Standing, verify: Verify) -> None:
    alter(standing.house, "DELETE FROM subscription WHERE tenant = 'acme'")
    assert verify()[:2] == (1, {"row_missing"})


def test_an_added_grant_is_found(standing: Standing, verify: Verify) -> None:
    alter(
        standing.house,
        "INSERT INTO access_grant SELECT 'forged', principal, actor, actor_kind,"
        " '[\"platform_admin\"]', ceiling, tenants, issued_at, expires_at, NULL"
        " FROM access_grant LIMIT 1",
    )
    assert verify()[:2] == (1, {"row_unwritten"})


def test_a_revoked_grant_brought_back_is_found(standing: Standing, verify: Verify) -> None:
    alter(
        standing.house,
        "UPDATE access_grant SET revoked_at = NULL WHERE revoked_at IS NOT NULL",
    )
    assert verify()[:2] == (1, {"row_altered"})


def test_a_consumed_approval_made_usable_again_is_found(standing: Standing, verify: Verify) -> None:
    alter(standing.house, "UPDATE approval SET state = 'approved' WHERE state = 'consumed'")
    assert verify()[:2] == (1, {"row_altered"})


def test_another_approval_rule_is_found(standing: Standing, verify: Verify) -> None:
    changed = json.dumps("two_people")
    alter(standing.house, "UPDATE setting SET value = ? WHERE name = 'approval.rule'", changed)
    assert verify()[:2] == (1, {"row_altered"})


def test_services_told_of_another_database_are_found(standing: Standing, verify: Verify) -> None:
    alter(standing.house, "UPDATE handover SET database_id = 'another' WHERE tenant = 'acme'")
    assert verify()[:2] == (1, {"row_altered"})


def test_services_that_were_told_more_than_they_may_are_found(
    standing: Standing, verify: Verify
) -> None:
    alter(standing.house, "UPDATE handover SET access = 'read_only', version = version + 1")
    assert verify()[:2] == (1, {"row_altered"})


def test_a_deleted_handover_is_found(standing: Standing, verify: Verify) -> None:
    alter(standing.house, "DELETE FROM handover WHERE tenant = 'acme'")
    assert verify()[:2] == (1, {"row_missing"})


def test_what_services_say_of_themselves_is_vouched_for_by_nobody(
    standing: Standing, verify: Verify
) -> None:
    alter(standing.house, "UPDATE handover SET acked_version = version, acked_by = 'a service'")
    assert verify()[:2] == (0, set())


def test_an_altered_payload_is_found(standing: Standing, verify: Verify) -> None:
    sealed = bytearray(ask(standing.house, "SELECT sealed FROM audit_leaf WHERE position = 3"))
    sealed[-1] ^= 1
    alter(standing.house, "UPDATE audit_leaf SET sealed = ? WHERE position = 3", bytes(sealed))
    assert verify()[:2] == (1, {"payload_altered"})


def test_an_altered_public_part_of_a_leaf_is_found(standing: Standing, verify: Verify) -> None:
    alter(standing.house, "UPDATE audit_leaf SET tenant = 'globex' WHERE position = 3")
    assert verify()[:2] == (1, {"root_mismatch", "head_mismatch", "forked"})


def test_a_log_cut_short_with_its_checkpoints_is_found_by_the_one_kept_elsewhere(
    standing: Standing, verify: Verify
) -> None:
    # The last leaves that vouch for no row: only who remembers that they were there misses them.
    guarding = ask(
        standing.house, "SELECT max(position) FROM audit_leaf WHERE json_array_length(guards) > 0"
    )
    last = ask(standing.house, "SELECT max(size) FROM checkpoint")
    earlier = "SELECT max(size) FROM checkpoint WHERE size > ? AND size < ?"
    cut_log(standing.house, ask(standing.house, earlier, guarding, last))
    assert verify(checkpoint=False)[:2] == (0, set())
    code, found, said = verify()
    assert (code, found) == (1, {"rolled_back"})
    assert NOT_EXTENDED in said


def test_another_audit_key_under_everything_is_found_by_the_checkpoint_or_the_key_kept_elsewhere(
    standing: Standing, verify: Verify
) -> None:
    replace_audit_key(standing.house)
    assert verify(checkpoint=False)[:2] == (0, set())
    assert verify()[:2] == (1, {"external_checkpoint_invalid", "signing_key_replaced"})
    code, found, _ = verify(checkpoint=False, key=True)
    assert (code, found) == (1, {"signing_key_replaced", "leaves_unsigned"})


def test_a_public_key_replaced_in_its_file_alone_is_found(
    standing: Standing, verify: Verify
) -> None:
    file = standing.house.workspace.keys / "public.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "issuer": "00" * 32}))
    assert verify()[:2] == (1, {"key_changed"})


def test_a_past_written_anew_with_the_stolen_key_is_found(
    standing: Standing, verify: Verify
) -> None:
    alter(standing.house, "UPDATE tenant SET plan = 'business' WHERE id = 'acme'")
    rewrite_guard(standing.house, "tenant", "acme")
    sign_again(standing.house, stolen_audit_seed(standing.house.workspace))
    assert verify(checkpoint=False, key=True)[:2] == (0, set())
    assert verify(key=True)[:2] == (1, {"forked"})


def test_another_catalog_with_its_setting_is_found(standing: Standing, verify: Verify) -> None:
    house = standing.house
    with house.store() as store, store.read() as connection:
        applied = applied_digest(connection)
    assert applied is not None
    files = catalog.read_files(house.workspace.catalogs / applied)
    swapped = {name: content + b"# swapped\n" for name, content in files.items()}
    other = catalog.keep_copy(house.workspace.catalogs, swapped).digest
    alter(house, "UPDATE setting SET value = ? WHERE name = 'catalog.digest'", json.dumps(other))
    assert verify()[:2] == (1, {"catalog_changed", "row_altered"})


@pytest.mark.parametrize("how", ["altered", "gone"])
def test_catalog_files_altered_in_their_place_are_found(
    standing: Standing, verify: Verify, how: str
) -> None:
    (folder,) = standing.house.workspace.catalogs.iterdir()
    if how == "gone":
        shutil.rmtree(folder)
    else:
        with (folder / "plans.yaml").open("a") as plans:
            plans.write("# swapped\n")
    assert verify()[:2] == (1, {"catalog_changed"})


def test_the_whole_store_rolled_back_is_found_by_the_checkpoint_kept_elsewhere(
    standing: Standing, verify: Verify
) -> None:
    swap_store(standing.house, standing.early)
    code, found, said = verify(checkpoint=False)
    assert (code, found) == (0, set())
    assert ROLLBACK_POSSIBLE in said
    assert verify()[:2] == (1, {"rolled_back"})


def test_a_row_that_no_longer_reads_is_a_finding_and_no_crash(
    standing: Standing, verify: Verify
) -> None:
    alter(standing.house, "UPDATE tenant SET suspend_reasons = '{broken' WHERE id = 'acme'")
    code, found, _ = verify()
    assert (code, found) == (1, {"row_altered"})


def test_a_kept_checkpoint_that_is_none_is_refused_by_name(
    standing: Standing, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        app,
        ["audit", "verify", "--checkpoint", str(tmp_path / "none")],
        env=standing.house.environment,
    )
    assert done.exit_code == 1
    assert "--checkpoint" in done.stderr
