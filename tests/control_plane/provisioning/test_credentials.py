"""Credentials from each place that they may come from, and each way in which that fails. Not what they open."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import Unavailable
from control_plane.provisioning.accounts import (
    Credentials,
    FromCommand,
    FromEnvironment,
    FromFile,
)
from control_plane.provisioning.credentials import fetch
from tests.support.waiting import until

PLANTED: Final = "s3cret-planted"
PAIRS: Final = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": PLANTED}
STEERING: Final = (
    *("TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_DATA_DIR", "TF_WORKSPACE", "TF_LOG", "TF_LOG_PATH"),
    *("TF_REATTACH_PROVIDERS", "TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR", "TF_VAR_", "TF_VAR_X"),
    *("TF_TOKEN_registry_terraform_io", "TF_INPUT", "PAYBILL_HOME", "LD_PRELOAD", "LD_AUDIT"),
    *("DYLD_INSERT_LIBRARIES", "PYTHONPATH", "PYTHONSTARTUP", "PATH", "HOME", "TMPDIR", "SHELL"),
    *("IFS", "ENV"),
)


def failed(source: Credentials, environment: dict[str, str] | None = None) -> str:
    """The code with which it fails; the sentence holds no value."""
    with pytest.raises(Unavailable) as error:
        fetch(source, environment or {})
    assert PLANTED not in str(error.value)
    assert error.value.__context__ is None or error.value.__suppress_context__
    return error.value.code


def file_of(tmp_path: Path, content: bytes | str, mode: int = 0o600) -> FromFile:
    path = tmp_path / "credentials.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return FromFile(kind="file", path=path)


def printing(code: str, deadline_s: int = 20) -> FromCommand:
    return FromCommand(
        kind="command", argv=(sys.executable, "-I", "-S", "-c", code), deadline_s=deadline_s
    )


def test_only_the_named_variables_of_the_environment_are_passed_on() -> None:
    source = FromEnvironment(kind="environment", names=("AWS_PROFILE", "AWS_REGION"))
    there = {"AWS_PROFILE": "one", "AWS_REGION": "two", "OTHER": PLANTED}
    assert fetch(source, there) == {"AWS_PROFILE": "one", "AWS_REGION": "two"}


@pytest.mark.parametrize("there", [{}, {"A": PLANTED}, {"A": PLANTED, "B": ""}])
def test_a_variable_that_is_missing_or_empty_is_named(there: dict[str, str]) -> None:
    source = FromEnvironment(kind="environment", names=("A", "B"))
    assert failed(source, there) == "credentials_missing"
    with pytest.raises(Unavailable, match="B"):
        fetch(source, there)


def test_a_file_of_this_user_alone_is_read(tmp_path: Path) -> None:
    assert fetch(file_of(tmp_path, json.dumps(PAIRS)), {}) == PAIRS


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_file_that_is_open_to_others_is_not_read(tmp_path: Path, mode: int) -> None:
    assert failed(file_of(tmp_path, json.dumps(PAIRS), mode)) == "credentials_missing"


def a_link(path: Path) -> None:
    path.with_name("real").write_text(json.dumps(PAIRS))
    path.with_name("real").chmod(0o600)
    path.symlink_to(path.with_name("real"))


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


def a_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def a_folder(path: Path) -> None:
    path.mkdir(mode=0o700)


@pytest.mark.parametrize("make", [nothing, a_link, a_fifo, a_folder])
def test_what_is_no_plain_file_is_not_read_and_holds_nobody_up(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "credentials.json"
    make(path)
    assert failed(FromFile(kind="file", path=path)) == "credentials_missing"


def test_a_path_that_can_be_none_is_missing() -> None:
    assert failed(FromFile(kind="file", path=Path("a\0b"))) == "credentials_missing"
    assert failed(FromCommand(kind="command", argv=("a\0b",))) == "credentials_missing"


NO_CREDENTIALS: Final[dict[str, bytes | str]] = {
    "empty": "",
    "no names": "{}",
    "no JSON": PLANTED,
    "list": f'["{PLANTED}"]',
    "text": f'"{PLANTED}"',
    "null": "null",
    "number as value": json.dumps({"A": 1}),
    "null as value": json.dumps({"A": None}),
    "object as value": json.dumps({"A": {"B": PLANTED}}),
    "NUL in a value": json.dumps({"A": f"{PLANTED}\0"}),
    "half a surrogate pair": json.dumps({"A": f"{PLANTED}\ud800"}),
    "too many names": json.dumps({f"N{number}": PLANTED for number in range(65)}),
    "too large": json.dumps({"A": PLANTED, "B": "x" * 65_536}),
    "not UTF-8": b'{"A": "\xff"}',
    "too deep": "[" * 60_000,
    "space in a name": json.dumps({"A B": PLANTED}),
    "no name": json.dumps({"": PLANTED}),
    "digit first": json.dumps({"1A": PLANTED}),
    "too long a name": json.dumps({"A" * 65: PLANTED}),
    "sign in a name": json.dumps({"A=B": PLANTED}),
    "line end in a name": json.dumps({"A\n": PLANTED}),
}


@pytest.mark.parametrize("content", NO_CREDENTIALS.values(), ids=NO_CREDENTIALS)
def test_what_is_no_object_of_names_and_texts_is_unreadable(
    tmp_path: Path, content: bytes | str
) -> None:
    assert failed(file_of(tmp_path, content)) == "credentials_unreadable"


@pytest.mark.parametrize("name", STEERING)
def test_a_name_that_steers_terraform_or_us_is_refused(tmp_path: Path, name: str) -> None:
    source = file_of(tmp_path, json.dumps({**PAIRS, name: PLANTED}))
    assert failed(source) == "credentials_unreadable"
    if name != "TF_VAR_":
        named = FromEnvironment(kind="environment", names=(name,))
        assert failed(named, {name: PLANTED}) == "credentials_unreadable"


@pytest.mark.parametrize("name", ["TF_VAR_token", "AWS_PROFILE", "PATHS", "HOMEPAGE", "TFX", "_A"])
def test_a_name_that_only_looks_alike_is_taken(tmp_path: Path, name: str) -> None:
    assert fetch(file_of(tmp_path, json.dumps({name: "x"})), {}) == {name: "x"}


def told_or_unreadable(source: Credentials, environment: dict[str, str]) -> dict[str, str]:
    try:
        return dict(fetch(source, environment))
    except Unavailable as error:
        if error.code != "credentials_unreadable":
            raise
        return {}


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=4))
def test_whatever_comes_out_can_be_an_environment(pairs: dict[str, str]) -> None:
    environment = {name: value for name, value in pairs.items() if value}
    names = tuple(name for name in environment if name.isidentifier() and name.isascii())
    if not names:
        return
    source = FromEnvironment.model_construct(kind="environment", names=names)
    for name, value in told_or_unreadable(source, environment).items():
        assert b"\0" not in os.fsencode(f"{name}={value}")


def test_what_a_program_prints_is_read_and_it_sees_nothing_of_ours() -> None:
    code = "import json, os; print(json.dumps({'SEEN': ' '.join(sorted(os.environ))}))"
    environment = {"PATH": os.environ["PATH"], "HOME": "/", "AWS_SECRET_ACCESS_KEY": PLANTED}
    seen = fetch(printing(code), environment)["SEEN"].split()
    assert {"HOME", "PATH"} <= set(seen)
    assert "AWS_SECRET_ACCESS_KEY" not in seen


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f"import sys; sys.exit('{PLANTED}')", "credentials_missing"),
        (f"print('{PLANTED}'); raise SystemExit(3)", "credentials_missing"),
        ("pass", "credentials_unreadable"),
        (f"print('{PLANTED}')", "credentials_unreadable"),
        ("import os; os.kill(os.getpid(), 9)", "credentials_missing"),
    ],
)
def test_a_program_that_fails_or_prints_something_else_is_named(code: str, expected: str) -> None:
    assert failed(printing(code)) == expected


def test_a_program_that_is_not_there_does_not_start() -> None:
    assert failed(FromCommand(kind="command", argv=("/no/such/program",))) == "credentials_missing"


def test_a_program_that_prints_without_end_is_stopped_at_once() -> None:
    began = time.monotonic()
    endless = f"import sys\nwhile True: sys.stdout.write('{PLANTED}' * 1000)"
    assert failed(printing(endless, deadline_s=60)) == "credentials_unreadable"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "hang",
    [
        pytest.param("import time; time.sleep(600)", id="prints nothing"),
        pytest.param("import os, time; os.close(1); time.sleep(600)", id="has closed its output"),
        pytest.param(
            "import os, time\nif os.fork() == 0: time.sleep(600)", id="leaves a child at its output"
        ),
    ],
)
def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, hang: str) -> None:
    told = tmp_path / "group"
    code = f"import os; open({str(told)!r}, 'w').write(str(os.getpgrp()))\n{hang}"
    assert failed(printing(code, deadline_s=1)) == "credentials_missing"
    until(lambda: not stands(int(told.read_text())), "the end of its group")


def stands(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
