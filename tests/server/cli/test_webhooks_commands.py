"""`paybill webhooks`: an endpoint from its registration to its end, its secret shown once, and dead letters, in a real workspace."""

from __future__ import annotations

import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control_plane.billing import letters, webhook_endpoints
from control_plane.billing.delivery import Answer
from control_plane.billing.inbox import receive
from control_plane.billing.outbox import Outbox, settle
from control_plane.domain.tenant import Tenant
from control_plane.store import rows, tables
from control_plane.store.webhook_tables import inbound_event
from server import keys, worker_link
from server.cli.app import app
from server.cli.webhooks import _attempted, _told
from server.settings import Settings
from server.workspace import Workspace
from tests.server.cli.conftest import Run
from tests.support.hooks import arrival
from tests.support.house import House, build_house
from tests.support.leaves import opened_leaves

URL = "https://hooks.example.com/paybill"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    """A workspace with a tenant."""
    made = build_house(tmp_path_factory.mktemp("hooked"), cerbos_binary)
    tenant = Tenant(
        id="acme",
        display_name="Acme",
        isolation="pooled",
        plan="free",
        region="local",
        state="active",
        access_mode="full",
    )
    with made.store() as store, store.write() as connection:
        rows.put(connection, tables.tenant, tenant)
    return made


@pytest.fixture
def paybill(house: House) -> Run:
    """`paybill("add", ...)` is `paybill webhooks add ...` in that workspace."""

    def one(*words: str | Path) -> Result:
        told = {**house.environment, "COLUMNS": "300"}
        return CliRunner().invoke(app, ["webhooks", *(str(word) for word in words)], env=told)

    return one


def made_by(told: Result) -> str:
    """The endpoint that an `add` told of."""
    assert told.exit_code == 0, told.output
    (named,) = re.findall(r"endpoint (we_[0-9a-f]{32}): ", told.stderr)
    return str(named)


def secrets_of(house: House, endpoint: str) -> list[str]:
    private = keys.load(house.workspace.keys).seal_private
    with house.store() as store, store.read() as connection:
        found = webhook_endpoints.secrets_of(connection, private, endpoint, datetime.now(UTC))
    return [one.get_secret_value() for one in found]


def attempt(house: House, status: int) -> None:
    """Make the attempts that are due, as a worker does, with that answer."""
    private, now = keys.load(house.workspace.keys).seal_private, datetime.now(UTC)
    with house.store() as store, store.write() as connection:
        for parcel in Outbox(private).lease(connection, now):
            settle(connection, parcel.delivery, Answer(status=status), now)


def test_a_secret_is_shown_once_and_by_no_other_command(paybill: Run, house: House) -> None:
    added = paybill("add", URL, "--tenant", "acme", "--kinds", "invoice.*, payment.failed")
    named, secret = made_by(added), added.stdout.strip()
    assert secret.startswith("whsec_")
    assert secrets_of(house, named) == [secret]
    rotated = paybill("rotate", named)
    second = rotated.stdout.strip()
    assert secrets_of(house, named) == [second, secret]
    assert re.search(r"the secret before signs until 20\S+Z", rotated.stderr)
    shown = paybill("show", named)
    listed = paybill("list")
    for told in (shown, listed):
        for said in (named, "acme", URL, "invoice.* payment.failed", "two secrets until 20"):
            assert said in told.stdout
    leaves = [one for one in opened_leaves(house) if one.leaf.kind.startswith("webhook.")]
    assert [one.leaf.kind for one in leaves] == ["webhook.added", "webhook.rotated"]
    all_said = "".join((shown.output, listed.output, added.stderr, rotated.stderr, repr(leaves)))
    assert not any(one.removeprefix("whsec_") in all_said for one in (secret, second))
    at_once = paybill("rotate", named, "--now")
    assert secrets_of(house, named) == [at_once.stdout.strip()]
    assert "not any more" in at_once.stderr
    assert paybill("remove", named).exit_code == 0
    assert named not in paybill("list").stdout


@pytest.mark.long
def test_a_secret_goes_to_a_new_file_of_its_owner_and_no_endpoint_stands_without_it(
    paybill: Run, house: House, tmp_path: Path
) -> None:
    out = tmp_path / "secret"
    added = paybill("add", URL, "--tenant", "*", "--out", out)
    named = made_by(added)
    assert "every tenant" in added.stderr
    assert added.stdout == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert secrets_of(house, named) == [out.read_text().strip()]
    before = secrets_of(house, named)
    for words in (("add", URL, "--tenant", "*"), ("rotate", named)):
        again = paybill(*words, "--out", out)
        assert (again.exit_code, "--out: must be a new file" in again.stderr) == (1, True)
    assert secrets_of(house, named) == before
    assert paybill("list").stdout.count("we_") == 1
    paybill("remove", named)


@pytest.mark.long
def test_what_did_not_arrive_is_shown_and_replayed(paybill: Run, house: House) -> None:
    named = made_by(paybill("add", URL, "--tenant", "acme"))
    sent = paybill("test", named, "--wait-s", "0")
    (letter,) = re.findall(r"message (\w+) waits for the worker", sent.stderr)
    attempt(house, 413)
    shown = paybill("dead", "--endpoint", named).stdout
    for said in (letter, "webhook.test", "rejected", "413", named):
        assert said in shown
    assert paybill("dead").stdout == shown
    (row,) = [line for line in paybill("list").stdout.splitlines() if named in line]
    assert row.rstrip(" │").endswith("1")
    assert "is tried again" in paybill("replay", letter).stderr
    assert letter not in paybill("dead").stdout
    attempt(house, 413)
    since = ("replay", "--endpoint", named, "--since")
    assert "0 dead letters" in paybill(*since, "2999-01-01T00:00:00Z").stderr
    assert "1 dead letters" in paybill(*since, "2020-01-01T00:00:00+02:00").stderr
    attempt(house, 204)
    assert "delivered" in paybill("show", named).stdout
    assert "is disabled" in paybill("disable", named).stderr
    assert "disabled" in paybill("show", named).stdout
    assert "nothing is sent" in paybill("test", named).stderr
    assert "is enabled" in paybill("enable", named).stderr
    paybill("remove", named)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (204, "delivered, answered 204"),
        (500, "answered 500; tried again at 20"),
        (410, "dead_lettered, answered 410"),
        (None, "no attempt has ended yet; see `webhooks show`"),
    ],
)
def test_what_came_of_a_test_is_told(
    paybill: Run, house: House, status: int | None, said: str
) -> None:
    named = made_by(paybill("add", URL, "--tenant", "acme"))
    sent = paybill("test", named, "--wait-s", "0")
    (letter,) = re.findall(r"message (\w+) waits", sent.stderr)
    if status is not None:
        attempt(house, status)
    with house.store() as store:
        found = _attempted(store, letter, 0.0)
        assert _attempted(store, "absent", 0.0) is None
        with store.read() as connection:
            assert found == letters.find(connection, letter)
    assert _told(found).startswith(said)
    if status == 410:
        assert "disabled: it answered 410" in paybill("show", named).stdout
    paybill("remove", named)


@pytest.mark.parametrize(("status", "code"), [(204, 0), (500, 1)])
def test_a_test_waits_for_the_worker_and_fails_where_the_receiver_did_not_take_it(
    paybill: Run, house: House, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    def answers(workspace: Workspace, settings: Settings) -> None:
        assert (workspace.id, settings.home) == (house.workspace.id, house.home)
        attempt(house, status)

    monkeypatch.setattr(worker_link, "ensure_worker", answers)
    named = made_by(paybill("add", URL, "--tenant", "*"))
    told = paybill("test", named, "--wait-s", "5")
    assert (told.exit_code, f"answered {status}" in told.stdout) == (code, True)
    paybill("remove", named)


def test_dead_events_of_a_provider_are_shown_and_replayed(paybill: Run, house: House) -> None:
    public = keys.load_public(house.workspace.keys).seal_bytes
    now = datetime.now(UTC)
    with house.store() as store:
        receive(store, public, arrival(), now)
        with store.write() as connection:
            values = {"state": "dead", "due_at": None, "settled_at": "2026-03-20T09:30:00.000000Z"}
            connection.execute(inbound_event.update().values(**values, outcome="no_such_payment"))
    shown = paybill("dead", "--provider", "sandbox").stdout
    for said in ("evt_1", "no_such_payment", "2026-03-20T09:30:00Z", "yes"):
        assert said in shown
    assert "evt_1 is tried again" in paybill("replay", "evt_1", "--provider", "sandbox").stderr
    assert "evt_1" not in paybill("dead", "--provider", "sandbox").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "https://10.0.0.1/", "--tenant", "acme"), "not one of the public internet"),
        (("add", "http://hooks.example.com/", "--tenant", "acme"), "url: must be https://"),
        (("add", URL, "--tenant", "nobody"), "there is no such tenant"),
        (("add", URL, "--tenant", "acme", "--kinds", "invoice.payed"), "did you mean invoice.paid"),
        (("show", "we_0"), "there is no such endpoint"),
        (("dead", "--endpoint", "we_0"), "there is no such endpoint"),
        (("dead", "--endpoint", "we_0", "--provider", "stripe"), "--provider: stands without"),
        (("replay",), "needs an id, or --endpoint and --since"),
        (("replay", "x", "--since", "2026-01-01T00:00:00Z"), "needs an id, or"),
        (("replay", "--endpoint", "we_0"), "needs an id, or"),
        (("replay", "--endpoint", "we_0", "--since", "2026-01-01"), "--since: must be an instant"),
        (("replay", "--endpoint", "we_0", "--since", "soon"), "--since: must be an instant"),
        (("replay", "never"), "there is no such dead letter"),
        (("replay", "never", "--provider", "stripe"), "there is no such event"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_and_not_recorded(
    paybill: Run, house: House, words: tuple[str, ...], said: str
) -> None:
    before = house.rows(tables.audit_leaf)
    told = paybill(*words)
    assert (told.exit_code, told.stdout) == (1, "")
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert house.rows(tables.audit_leaf) == before
