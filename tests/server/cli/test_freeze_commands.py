"""`paybill freeze`: set, shown and lifted by a human's token, with a real worker's policy engine. Not what it keeps waiting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli.app import app
from tests.server.cli.conftest import Run
from tests.support.house import House, Token, build_house
from tests.support.postgres import raze
from tests.support.workers import running_worker

REASON = ("--reason", "An outage.")


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.sweep)]
)
def frozen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path
) -> Iterator[House]:
    """A workspace with a worker, on each engine: on Postgres no face may write what is set here."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    house = build_house(tmp_path_factory.mktemp("frozen"), cerbos_binary, postgres=server)
    with running_worker(house):
        yield house
    if server is not None:
        raze(server, house.workspace.id)


@pytest.fixture(scope="module")
def root(frozen: House) -> Token:
    """A human who has every tenant."""
    return frozen.issue("platform_admin", "*", principal="rita", actor=None)


def asked(house: House, *words: str | Path, token: Token | None = None) -> Result:
    """What one command says."""
    given = ("--token-file", token.file) if token is not None else ()
    told = {**house.environment, "COLUMNS": "240"}
    return CliRunner().invoke(app, ["freeze", *map(str, (*words, *given))], env=told)


def shown(house: House) -> list[dict[str, object]]:
    """The freezes in force."""
    found: list[dict[str, object]] = json.loads(asked(house, "status", "--json").stdout)
    return found


@pytest.mark.long
def test_a_cloud_is_frozen_shown_and_lifted(frozen: House, root: Token) -> None:
    done = asked(frozen, "on", "--cloud", "aws", *REASON, token=root)
    assert (done.exit_code, done.stdout) == (0, "cloud aws: frozen\n"), done.output
    (one,) = shown(frozen)
    assert (one["scope"], one["of"], one["by"], one["reason"]) == (
        "cloud",
        "aws",
        "rita",
        "An outage.",
    )
    assert "An outage." in asked(frozen, "status").stdout
    done = asked(frozen, "off", "--cloud", "aws", *REASON, token=root)
    assert (done.exit_code, done.stdout) == (0, "cloud aws: not frozen\n"), done.output
    assert shown(frozen) == []


@pytest.mark.long
def test_the_outcome_is_told_to_a_program(frozen: House, root: Token) -> None:
    told = json.loads(asked(frozen, "off", *REASON, "--json", token=root).stdout)
    assert (told["outcome"], told["result"]["scope"], told["result"]["frozen"]) == (
        "done",
        "workspace",
        False,
    )


@pytest.mark.long
def test_each_change_is_vouched_for_and_decided_again_the_same(frozen: House, root: Token) -> None:
    for word in ("on", "off", "on", "off"):
        assert asked(frozen, word, "--cloud", "gcp", *REASON, token=root).exit_code == 0
    for words in (("audit", "verify"), ("audit", "replay")):
        ran = CliRunner().invoke(app, [*words], env=frozen.environment)
        assert ran.exit_code == 0, ran.output


def test_an_agents_token_is_refused_in_one_line(frozen: House) -> None:
    bot = frozen.issue("platform_admin", "*", principal="rob", actor="rob-bot")
    ran = asked(frozen, "on", *REASON, token=bot)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("paybill: human_only: ")
    assert shown(frozen) == []


def test_who_may_not_is_told_no_more(frozen: House) -> None:
    auditor = frozen.issue("auditor", "*", principal="vera", actor=None)
    ran = asked(frozen, "on", *REASON, token=auditor)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("paybill: tool_not_listed: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--tenant", "acme", "--cloud", "aws"),
            "options: must name a tenant or a cloud, not both",
        ),
        (("--cloud", "mars"), "cloud"),
        (("--tenant", "Acme!"), "tenant"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_frozen(
    frozen: House, root: Token, words: tuple[str, ...], said: str
) -> None:
    ran = asked(frozen, "on", *words, *REASON, token=root)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert shown(frozen) == []


def test_without_a_reason_nothing_is_asked(run: Run) -> None:
    assert run("freeze", "on").exit_code == 2


def test_where_nothing_is_frozen_an_empty_table_is_shown(run: Run) -> None:
    ran = run("freeze", "status")
    assert ran.exit_code == 0
    assert json.loads(run("freeze", "status", "--json").stdout) == []
