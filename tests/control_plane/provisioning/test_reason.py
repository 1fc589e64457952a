"""Which class of failure a command's words belong to. Not what is done about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.provisioning.reason import NETWORK, OTHER, STALE, classify


def class_of(tmp_path: Path, text: str) -> object:
    path = tmp_path / "1.err"
    path.write_text(text, encoding="utf-8")
    return classify(path)


@pytest.mark.parametrize(
    "text",
    [
        "dial tcp 127.0.0.1:9: connect: connection refused",
        "read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
        "decomposing response: read tcp 127.0.0.1:1->127.0.0.1:2: use of closed network connection",
        "operation error S3: PutObject, exceeded maximum number of attempts, 3, StatusCode: 503",
        "lookup sts.amazonaws.com on 127.0.0.1:53: no such host",
        "net/http: TLS handshake timeout",
        "read udp 127.0.0.1:1->127.0.0.1:53: i/o timeout",
    ],
)
def test_an_answer_that_did_not_come_whole_may_come_later(tmp_path: Path, text: str) -> None:
    assert class_of(tmp_path, f"Error: listing tags\n\n{text}\n") == NETWORK
    assert NETWORK.retryable


def test_words_are_known_however_terraform_wraps_and_frames_them(tmp_path: Path) -> None:
    assert class_of(tmp_path, "│ Error: Saved plan is\n│ stale\n╵") == STALE
    assert class_of(tmp_path, '{"@message":"connection\\nrefused"}') == NETWORK


def test_what_is_not_known_is_no_reason_to_try_again(tmp_path: Path) -> None:
    assert class_of(tmp_path, "Error: something else") == OTHER
    assert not OTHER.retryable
