"""Where in a policy's file a finding stands: the line of a rule, a key or a word. Not the finding."""

from __future__ import annotations

import re
from typing import Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_RULE: Final = re.compile(r"^rule (?:number (\d+)|(.+?)): ")
_KEYED: Final = (
    ("kind must", "resource"),
    ("its kind has", "resource"),
    ("version must", "version"),
    ("must have no scope", "scope"),
    ("must name a", "schemas"),
    ("must use the resource schema", "schemas"),
)
_WORDS: Final = (
    (re.compile(r"^\w+ attribute (\w+) is not in"), r"\battr\s*\.\s*{}\b"),
    (re.compile(r"^must not call (\w+)\(\)"), r"\b{}\s*\("),
    (re.compile(r"^must not use has\(\)"), r"\bhas\s*\("),
    (re.compile(r"^must not use the conditional"), r"\?"),
    (re.compile(r"^must not use ([+*/%]):"), r"{}"),
    (re.compile(r"^must name each (?:resource|principal) attribute"), r"\battr\b(?!\s*\.)"),
    (re.compile(r"^must use no index"), r"\w\s*\["),
    (re.compile(r"^must use no part of"), r"\battr\s*\.\s*\w+\s*\.\s*\w+\b(?!\s*\()"),
    (re.compile(r"^must use nothing of a row"), r"\bR(?:esource)?\b(?!\s*\.\s*attr)"),
    (re.compile(r"^must write texts as plain"), r"\b\w+[\"']"),
)


def line_of(text: str, finding: str) -> int:
    """The line, from 1, that a finding of the lint is about; 0 where it cannot be told."""
    rule = _RULE.match(finding)
    root = _composed(text)
    if rule is not None:
        return _rule_line(root, rule[2], int(rule[1] or 0))
    for start, key in _KEYED:
        if finding.startswith(start):
            return _key_line(root, key)
    for said, wanted in _WORDS:
        found = said.match(finding)
        if found is not None:
            return word_line(text, wanted.format(*(re.escape(one) for one in found.groups())))
    return 0


def word_line(text: str, pattern: str) -> int:
    """The first line, from 1, in which a pattern is found outside of comments; 0 where in none."""
    return next(iter(word_lines(text, pattern)), 0)


def word_lines(text: str, pattern: str) -> list[int]:
    """Every line, from 1, in which a pattern is found outside of comments."""
    wanted = re.compile(pattern)
    return [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if not line.lstrip().startswith("#") and wanted.search(line)
    ]


def action_line(text: str, action: str) -> int:
    """The first line, from 1, in which a rule names the action; 0 where none does."""
    return word_line(text, rf"(?<!\w){re.escape(action)}(?!\w)")


def parse_line(text: str) -> int:
    """The line at which a text stops being one YAML document; 0 where it is one."""
    try:
        yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        return 0 if error.problem_mark is None else error.problem_mark.line + 1
    except yaml.YAMLError:
        return 0
    return 0


def _composed(text: str) -> Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None


def _value(node: Node | None, key: str) -> tuple[int, Node | None]:
    for name, value in node.value if isinstance(node, MappingNode) else ():
        if isinstance(name, ScalarNode) and name.value == key:
            return name.start_mark.line + 1, value
    return 0, None


def _key_line(root: Node | None, key: str) -> int:
    start, body = _value(root, "resourcePolicy")
    return _value(body, key)[0] or start


def _rule_line(root: Node | None, name: str | None, number: int) -> int:
    start, body = _value(root, "resourcePolicy")
    line, rules = _value(body, "rules")
    for place, rule in enumerate(rules.value if isinstance(rules, SequenceNode) else (), start=1):
        named = _value(rule, "name")[1]
        if place == number or (isinstance(named, ScalarNode) and named.value == name):
            return int(rule.start_mark.line) + 1
    return line or start
