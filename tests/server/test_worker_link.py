"""What a worker is told that a face starts: every setting that concerns it, and no secret."""

from __future__ import annotations

from pathlib import Path

from server import worker_link
from server.settings import Settings
from server.workspace import Workspace

# What concerns faces alone, or is told under another name: PATH, HOME's folders, the limits.
OF_FACES = {
    "home",
    "cache",
    "path",
    "limits",
    "workspace",
    "token",
    "token_file",
    "issuers_file",
    "handover_host",
    "handover_port",
}
SECRETS = {"stripe_key", "stripe_webhook_secrets"}


def test_every_setting_is_handed_on_or_is_a_faces_or_a_secret() -> None:
    handed = set(worker_link._HANDED)
    assert handed | OF_FACES | SECRETS == set(Settings.model_fields)
    assert not handed & (OF_FACES | SECRETS)


def test_what_a_face_was_told_reaches_its_worker_and_no_secret_does(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "home": tmp_path,
            "cache": tmp_path,
            "keys_file": tmp_path / "keys.yaml",
            "drift_repairs": True,
            "stripe_key": "rk_test_planted",
        }
    )
    workspace = Workspace(tmp_path, tmp_path, "name", "0" * 32, tmp_path)
    told = worker_link._environment(workspace, settings)
    assert told["PAYBILL_KEYS_FILE"] == str(tmp_path / "keys.yaml")
    assert told["PAYBILL_DRIFT_REPAIRS"] == "true"
    assert "rk_test_planted" not in str(told)
    again = Settings.model_validate(
        {
            "home": tmp_path,
            "cache": tmp_path,
            "drift_repairs": told["PAYBILL_DRIFT_REPAIRS"] == "true",
        }
    )
    assert again.drift_repairs
