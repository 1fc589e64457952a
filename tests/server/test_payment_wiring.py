"""Which providers a worker has, how it comes by their secrets, and that a server passes none on."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from control_plane.errors import BadInput
from server import face_process, worker_link
from server.parts import _payments
from server.payment_wiring import provider_names, wire_payments
from server.presence import hold
from server.settings import Settings, read_settings
from server.stripe_secrets import stripe_webhook_secrets
from server.worker_state import WorkerState, write_state
from server.workspace import Workspace

KEY = "sk_test_tell_nobody"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "stripe.key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """As much of a workspace as payments need."""
    return cast(
        "Workspace",
        SimpleNamespace(
            root=tmp_path,
            sandbox_db=tmp_path / "sandbox.db",
            worker_json=tmp_path / "worker.json",
            worker_lock=tmp_path / "worker.lock",
        ),
    )


def told(monkeypatch: pytest.MonkeyPatch, **named: Any) -> Settings:
    """The settings of a process with these variables."""
    for name, value in named.items():
        monkeypatch.setenv(f"PAYBILL_{name.upper()}", str(value))
    return read_settings()


def test_a_worker_has_the_sandbox_and_whatever_it_has_a_key_for(
    monkeypatch: pytest.MonkeyPatch, place: Workspace, key_file: Path
) -> None:
    assert [*wire_payments(place, read_settings())] == ["sandbox"]
    with_manual = told(monkeypatch, manual_payments="true")
    assert sorted(wire_payments(place, with_manual)) == ["manual", "sandbox"]
    assert provider_names(with_manual) == ("manual", "sandbox")
    assert worker_link._environment(place, with_manual)["PAYBILL_MANUAL_PAYMENTS"] == "true"
    monkeypatch.delenv("PAYBILL_MANUAL_PAYMENTS")
    by_file = told(monkeypatch, stripe_key_file=key_file, sandbox_payments="false")
    assert [*wire_payments(place, by_file)] == ["stripe"] == [*provider_names(by_file)]
    assert KEY not in repr(by_file)
    by_name = told(monkeypatch, stripe_key=KEY, stripe_key_file=key_file.with_name("none"))
    assert [*wire_payments(place, by_name)] == ["stripe"]


def test_a_key_that_others_may_read_or_that_is_none_is_refused_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, place: Workspace, key_file: Path
) -> None:
    settings = told(monkeypatch, stripe_key_file=key_file)
    for spoil in (
        lambda: key_file.chmod(0o644),
        lambda: key_file.write_bytes(b" \n"),
        lambda: key_file.write_bytes(b"\xff"),
        key_file.unlink,
    ):
        spoil()
        with pytest.raises(BadInput) as caught:
            wire_payments(place, settings)
        assert caught.value.field == "PAYBILL_STRIPE_KEY_FILE"
        assert KEY not in str(caught.value)
        if key_file.exists():
            key_file.chmod(0o600)


def test_a_server_passes_on_where_a_secret_is_and_never_the_secret(
    monkeypatch: pytest.MonkeyPatch, place: Workspace, key_file: Path
) -> None:
    settings = told(
        monkeypatch,
        stripe_key=KEY,
        stripe_webhook_secrets=KEY,
        token=KEY,
        stripe_key_file=key_file,
        stripe_webhook_secrets_file=key_file,
        sandbox_payments="false",
        stripe_api_base="https://127.0.0.1:1",
    )
    given = worker_link._environment(place, settings)
    assert KEY not in "".join(given.values())
    assert given["PAYBILL_STRIPE_KEY_FILE"] == str(key_file)
    for name in list(given):
        monkeypatch.setenv(name, given[name])
    for name in ("STRIPE_KEY", "STRIPE_WEBHOOK_SECRETS", "TOKEN"):
        monkeypatch.delenv(f"PAYBILL_{name}")
    there = read_settings()
    assert provider_names(there) == ("stripe",)
    assert there.stripe_api_base == settings.stripe_api_base
    assert [one.get_secret_value() for one in stripe_webhook_secrets(there)] == [KEY]


def test_webhook_secrets_stand_in_a_file_as_in_the_variable_which_comes_first(
    monkeypatch: pytest.MonkeyPatch, key_file: Path
) -> None:
    assert stripe_webhook_secrets(read_settings()) == ()
    key_file.write_text(" whsec_one, whsec_two \n")
    by_file = told(monkeypatch, stripe_webhook_secrets_file=key_file)
    assert [one.get_secret_value() for one in stripe_webhook_secrets(by_file)] == [
        "whsec_one",
        "whsec_two",
    ]
    by_name = told(monkeypatch, stripe_webhook_secrets="whsec_three")
    assert [one.get_secret_value() for one in stripe_webhook_secrets(by_name)] == ["whsec_three"]


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"whsec_tell_nobody,,", b"\xff", b"a," * 8 + b"a"]
)
def test_a_file_that_holds_no_webhook_secrets_is_refused_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, key_file: Path, content: bytes
) -> None:
    settings = told(monkeypatch, stripe_webhook_secrets_file=key_file)
    key_file.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        stripe_webhook_secrets(settings)
    assert caught.value.field == "PAYBILL_STRIPE_WEBHOOK_SECRETS_FILE"
    assert "tell_nobody" not in str(caught.value)


@pytest.mark.parametrize("spoil", ["open", "absent", "link"])
def test_webhook_secrets_that_others_may_read_are_no_secrets(
    monkeypatch: pytest.MonkeyPatch, key_file: Path, spoil: str
) -> None:
    named = key_file
    if spoil == "open":
        key_file.chmod(0o644)
    elif spoil == "absent":
        key_file.unlink()
    else:
        named = key_file.with_name("link")
        named.symlink_to(key_file)
    with pytest.raises(BadInput):
        stripe_webhook_secrets(told(monkeypatch, stripe_webhook_secrets_file=named))


def test_a_server_says_that_secrets_in_a_variable_do_not_reach_its_worker(
    monkeypatch: pytest.MonkeyPatch, place: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    def found(*_: object) -> None:
        """A worker runs already."""

    monkeypatch.setattr(face_process, "ensure_worker", found)
    with caplog.at_level(logging.WARNING):
        settings = told(monkeypatch, stripe_webhook_secrets=KEY)
        face_process.start_worker(place, settings).join()
    assert "PAYBILL_STRIPE_WEBHOOK_SECRETS_FILE" in caplog.text
    assert KEY not in caplog.text


def test_a_server_that_holds_the_key_says_that_it_is_not_for_it(
    monkeypatch: pytest.MonkeyPatch, place: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    def found(*_: object) -> None:
        """A worker runs already."""

    monkeypatch.setattr(face_process, "ensure_worker", found)
    with caplog.at_level(logging.WARNING):
        face_process.start_worker(place, read_settings()).join()
        assert not caplog.records
        face_process.start_worker(place, told(monkeypatch, stripe_key=KEY)).join()
    assert "PAYBILL_STRIPE_KEY_FILE" in caplog.text
    assert KEY not in caplog.text


def test_doctor_names_what_the_running_worker_has_and_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, place: Workspace
) -> None:
    nobody = told(monkeypatch, sandbox_payments="false")
    assert _payments(place, nobody).state == "none: nothing is collected by itself"
    settings = told(monkeypatch, stripe_key=KEY, sandbox_payments="true")
    assert _payments(place, settings).state == "sandbox, stripe"
    state = WorkerState(pid=1, socket="s", bundle="b", catalog="c", started_at="now")
    write_state(place.worker_json, state.model_copy(update={"payments": ("sandbox",)}))
    # Of one that is gone nothing is said.
    assert _payments(place, settings).source == "these settings"
    lock = hold(place.worker_lock)
    assert lock is not None
    found = _payments(place, settings)
    assert found.source == "the running worker"
    assert found.state == "sandbox; not stripe: the worker was started without"
