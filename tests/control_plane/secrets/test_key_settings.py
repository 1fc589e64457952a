"""The file that says which keys wrap: read strictly, and no value of it ever told. Not the keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from control_plane.errors import BadInput
from control_plane.secrets.key_settings import (
    OWN_KEY,
    AgeKey,
    CommandKey,
    FileKey,
    KeySettings,
    parse_keys,
)

PAGE: Final = Path(__file__).parents[3] / "docs" / "reference" / "backups.md"
PLANTED: Final = "planted-in-the-file"


def test_each_kind_is_read() -> None:
    told = parse_keys(
        "current: {kind: age, identity: /etc/paybill/backups.age}\n"
        "former:\n"
        "- {kind: file}\n"
        "- {kind: command, argv: [/usr/local/bin/kms, --wrap], reference: 'arn:aws:kms:key/1', deadline_s: 5}\n",
        "keys.yaml",
    )
    command = CommandKey(
        kind="command",
        argv=("/usr/local/bin/kms", "--wrap"),
        reference="arn:aws:kms:key/1",
        deadline_s=5,
    )
    age = AgeKey(kind="age", identity=Path("/etc/paybill/backups.age"))
    assert told == KeySettings(current=age, former=(FileKey(kind="file"), command))
    assert OWN_KEY.current == FileKey(kind="file")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "current"),
        ("current: {kind: age}", "current.age.identity"),
        ("current: {kind: age, identity: relative.age}", "current.age.identity"),
        (f"current: {{kind: {PLANTED}}}", "current"),
        (f"current: {{kind: file, {PLANTED}: 1}}", f"current.file.{PLANTED}"),
        ("current: {kind: command, argv: [], reference: a}", "current.command.argv"),
        ("current: {kind: command, argv: [a], reference: ''}", "current.command.reference"),
        ("current: {kind: command, argv: [a], reference: 'a b'}", "current.command.reference"),
        (
            "current: {kind: command, argv: [a], reference: a, deadline_s: 61}",
            "current.command.deadline_s",
        ),
        ("current: {kind: file}\nformer: [{kind: file}]", ""),
        ("current: {kind: file}\nformer: 1", "former"),
    ],
)
def test_what_breaks_a_rule_is_named_by_field(text: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_keys(text, "keys.yaml")
    assert caught.value.field == f"keys.yaml: {field}"
    assert PLANTED not in caught.value.rule


def test_the_pages_own_example_is_read_and_every_kind_told() -> None:
    text = PAGE.read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    told = parse_keys(example, "keys.yaml")
    assert (told.current.kind, [one.kind for one in told.former]) == ("age", ["command"])
    kinds = re.findall(r"^\| `(\w+)` \| (?:The workspace|An age|A program)", text, re.MULTILINE)
    declared = (FileKey(kind="file"), told.current, *told.former)
    assert kinds == [one.kind for one in declared]
