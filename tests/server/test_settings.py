"""The environment is read strictly and shown never. Not what the settings are used for."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.errors import BadInput
from server.settings import Limits, Settings, process_environment, read_settings


def test_the_table_of_limits_has_these_defaults() -> None:
    assert Limits().model_dump() == {
        "gate_deadline_s": 1.0,
        "call_deadline_s": 20.0,
        "calls_in_flight_max": 8,
        "rows_max": 100,
        "answer_bytes_max": 262_144,
        "statement_ms_max": 2000,
        "pending_approvals_max": 5,
        "body_bytes_max": 262_144,
        "nesting_max": 16,
    }


def test_every_setting_says_what_it_is() -> None:
    fields = {**Settings.model_fields, **Limits.model_fields}
    assert all(field.description for field in fields.values())


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBILL_HOME", "/srv/paybill")
    monkeypatch.setenv("PAYBILL_LIMITS__ROWS_MAX", "7")
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("PAYBILL_TOKEN", "")
    settings = read_settings()
    assert settings.home == Path("/srv/paybill")
    assert settings.limits.rows_max == 7
    assert settings.path == "/bin"
    assert settings.token is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYBILL_HOME", "relative/secret"),
        ("PAYBILL_LIMITS__ROWS_MAX", "secret"),
        ("PAYBILL_LIMITS__ROWS_MAX", "100000"),
        ("PAYBILL_LIMITS__SECRET", "secret"),
        ("PAYBILL_CERBOS_BIN", "secret"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as caught:
        read_settings()
    assert caught.value.field == name
    assert value not in str(caught.value).replace(name, "")


def test_a_token_shows_nowhere_and_reaches_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBILL_TOKEN", "tell-nobody")
    assert "tell-nobody" not in repr(read_settings())
    assert "tell-nobody" not in process_environment().values()
