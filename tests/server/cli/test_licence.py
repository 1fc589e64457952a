"""`paybill licence`: issued for a tenant, verified anywhere, recorded; and the page's own example holds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from control_plane.billing.licence import LicenceTerms
from control_plane.billing.licence import issue as sign
from control_plane.domain.subscription import Subscription
from control_plane.domain.tenant import Tenant
from control_plane.secrets import signer
from control_plane.store import rows, tables
from server import licensing
from server.cli.app import app
from tests.server.cli.conftest import Run
from tests.support.house import House, build_house
from tests.support.leaves import opened_leaves

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "licences.md"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    """A workspace with tenants that are, are not, and were."""
    made = build_house(tmp_path_factory.mktemp("licensed"), cerbos_binary)
    states = {"acme": "active", "globex": "canceled", "shut": "active", "bare": None}
    with made.store() as store, store.write() as connection:
        for name, state in states.items():
            values: dict[str, Any] = {"state": "active", "access_mode": "full"}
            if name == "shut":
                values = {
                    "state": "suspended",
                    "access_mode": "read_only",
                    "suspend_reasons": frozenset({"security"}),
                }
            tenant = Tenant(
                id=name,
                display_name=name,
                isolation="pooled",
                plan="team",
                region="local",
                **values,
            )
            rows.put(connection, tables.tenant, tenant)
            if state is None:
                continue
            given = {"id": name, "tenant": name, "plan": "team", "plan_version": 1, "state": state}
            known = {column.name for column in tables.subscription.columns}
            made_out = Subscription.model_validate(given).model_dump(mode="json", include=known)
            connection.execute(tables.subscription.insert().values(**made_out))
    return made


@pytest.fixture
def paybill(house: House) -> Run:
    """`paybill("licence", "issue", ...)` in that workspace."""

    def one(*words: str | Path) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], env=house.environment)

    return one


@pytest.fixture
def files(paybill: Run, tmp_path: Path) -> tuple[Path, Path]:
    """A licence of acme's, and the public key."""
    text, key = tmp_path / "acme.licence", tmp_path / "licence.pem"
    assert paybill("licence", "issue", "acme", "--days", "3", "--out", text).exit_code == 0
    assert paybill("licence", "key", "--out", key).exit_code == 0
    return text, key


# issuing ---------------------------------------------------------------------------------------


def test_a_licence_is_issued_to_stdout_and_holds(paybill: Run, tmp_path: Path) -> None:
    made = paybill("licence", "issue", "acme")
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("-----BEGIN PAYBILL LICENCE-----\n")
    assert "plan team, tier team, 25 seats, until " in made.stderr
    (tmp_path / "one").write_text(made.stdout)
    held = paybill("licence", "verify", tmp_path / "one", "--tenant", "acme")
    assert held.exit_code == 0, held.output
    assert held.stdout.startswith("acme: plan team, tier team, 25 seats, until ")


def test_days_say_how_long_it_holds(files: tuple[Path, Path], paybill: Run) -> None:
    told = paybill("licence", "verify", files[0], "--tenant", "acme").stdout
    (end,) = re.findall(r"until (\S+)", told)
    left = datetime.fromisoformat(end) - datetime.now(UTC)
    assert timedelta(days=2, hours=23) < left <= 3 * DAY


def test_a_licence_is_recorded_without_its_text(paybill: Run, house: House) -> None:
    made = paybill("licence", "issue", "acme")
    *_, leaf = (one for one in opened_leaves(house) if one.leaf.kind == "licence.issued")
    assert leaf.leaf.tenant == "acme"
    assert leaf.payload is not None
    assert set(leaf.payload) == {"licence", "key_id", "plan", "seats", "expires_at"}
    assert str(leaf.payload["licence"]) in made.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nobody",), "there is no such tenant"),
        (("globex",), "entitles to nothing"),
        (("bare",), "entitles to nothing"),
        (("shut",), "not active"),
        (("acme", "--days", "0"), "days"),
        (("acme", "--days", "367"), "days"),
        (("acme", "--out", "/no/such/folder/file"), "--out"),
    ],
)
def test_what_cannot_be_licensed_is_refused_in_one_line_and_not_recorded(
    paybill: Run, house: House, words: tuple[str, ...], told: str
) -> None:
    before = house.rows(tables.audit_leaf)
    said = paybill("licence", "issue", *words)
    assert said.exit_code == 1
    assert said.stdout == ""
    assert told in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert house.rows(tables.audit_leaf) == before


def test_no_file_is_written_over(files: tuple[Path, Path], paybill: Run) -> None:
    before = [file.read_bytes() for file in files]
    assert paybill("licence", "issue", "acme", "--out", files[0]).exit_code == 1
    assert paybill("licence", "key", "--out", files[1]).exit_code == 1
    assert [file.read_bytes() for file in files] == before


# verifying -------------------------------------------------------------------------------------


def test_it_is_verified_without_any_workspace(files: tuple[Path, Path], tmp_path: Path) -> None:
    text, key = files
    words = ["licence", "verify", str(text), "--tenant", "acme", "--key", str(key)]
    nowhere = {"PAYBILL_HOME": str(tmp_path / "none"), "PAYBILL_WORKSPACE": str(tmp_path / "none")}
    said = CliRunner().invoke(app, words, env=nowhere)
    assert said.exit_code == 0, said.output


def other_key(folder: Path) -> Path:
    """The public key of somebody else."""
    file = folder / "other.pem"
    file.write_text(licensing.public_pem(signer.public_bytes(signer.new_seed())))
    return file


@pytest.mark.long
def test_what_does_not_hold_is_refused_in_one_line(
    files: tuple[Path, Path], paybill: Run, tmp_path: Path
) -> None:
    text, key = files
    altered = tmp_path / "altered"
    body = text.read_text().splitlines()
    body[3] = body[3][::-1]
    altered.write_text("\n".join(body))
    nothing = tmp_path / "nothing"
    nothing.write_text("nothing")
    for file, tenant, by, told in (
        (text, "globex", key, "another tenant's"),
        (altered, "acme", key, "signature"),
        (nothing, "acme", key, "does not hold one licence"),
        (tmp_path / "absent", "acme", key, "file"),
        (tmp_path, "acme", key, "file"),
        (text, "acme", other_key(tmp_path), "not known here"),
        (text, "acme", nothing, "--key"),
        (text, "acme", tmp_path / "absent", "--key"),
    ):
        said = paybill("licence", "verify", file, "--tenant", tenant, "--key", by)
        assert said.exit_code == 1, told
        assert told in said.stderr
        assert (said.stdout, len(said.stderr.splitlines())) == ("", 1)


def test_a_file_of_two_keys_serves_while_one_is_exchanged(
    files: tuple[Path, Path], paybill: Run, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_text(other_key(tmp_path).read_text() + "\n" + files[1].read_text())
    assert paybill("licence", "verify", files[0], "--tenant", "acme", "--key", both).exit_code == 0


# the page's own example ------------------------------------------------------------------------


def example(folder: Path) -> Path:
    """The program that the page shows, as it stands there."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = folder / "verify.py"
    file.write_text(program)
    return file


def shown(folder: Path, text: Path, key: Path, tenant: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-I", str(example(folder)), str(text), str(key), tenant]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_pages_example_reads_a_licence(files: tuple[Path, Path], tmp_path: Path) -> None:
    ran = shown(tmp_path, *files, "acme")
    assert ran.returncode == 0, ran.stderr
    fields = json.loads(ran.stdout)
    assert (fields["tenant"], fields["plan"], fields["seats"]) == ("acme", "team", 25)


def test_the_pages_example_imports_nothing_of_ours(tmp_path: Path) -> None:
    program = example(tmp_path).read_text()
    rooms = set(re.findall(r"^(?:import|from) ([\w, ]+)", program, re.MULTILINE))
    assert rooms == {"base64, json, re, sys", "datetime import datetime, timezone", "cryptography"}


def test_the_pages_example_refuses_what_does_not_hold(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    text, key = files
    foreign = shown(tmp_path, text, key, "globex")
    assert (foreign.returncode, "no licence of ours" in foreign.stderr) == (1, True)
    by_another = shown(tmp_path, text, other_key(tmp_path), "acme")
    assert (by_another.returncode, "InvalidSignature" in by_another.stderr) == (1, True)


@pytest.mark.parametrize("begins", [-2, 1])
def test_the_pages_example_refuses_what_is_over_or_has_not_begun(
    tmp_path: Path, begins: int
) -> None:
    seed, now = signer.new_seed(), datetime.now(UTC)
    terms = LicenceTerms(
        tenant="acme",
        plan="team",
        tier="team",
        entitlements={},
        seats=1,
        not_before=now + begins * DAY,
        expires_at=now + (begins + 1) * DAY,
    )
    text, key = tmp_path / "text", tmp_path / "key"
    text.write_text(sign(terms, licence_id="lic_1", issued_at=now, seed=seed))
    key.write_text(licensing.public_pem(signer.public_bytes(seed)))
    ran = shown(tmp_path, text, key, "acme")
    assert (ran.returncode, "does not hold now" in ran.stderr) == (1, True)
