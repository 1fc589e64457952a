"""What a module asks for, read before Terraform sees it. Not a parser of all the language.

It reads a small part of the language exactly and turns the rest away (heredocs, quotes inside a
template, unicode escapes, JSON syntax), so nothing can hide in a place that it misreads. Terraform
itself is the second line: it may install no provider outside its own configuration, and a plan
tells of every provisioner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from control_plane.errors import Refused

BUILTIN: Final = "terraform.io/builtin/terraform"
_TOKEN: Final = re.compile(
    r"""(?P<gap>[ \t\r]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:\\[nrt"\\]|[^"\\\n$%]|[$%](?!\{)|[$%]\{[^{}"\n\\#/]*\})*")
    |(?P<heredoc><<)
    |(?P<word>[A-Za-z_][\w-]*)
    |(?P<other>[^"])""",
    re.VERBOSE | re.DOTALL,
)
_TYPED: Final = frozenset({"resource", "data", "ephemeral", "action", "list"})
_REACHES_OUT: Final = frozenset({"external", "http", "terraform_remote_state"})


def tokens(text: str) -> list[str]:
    """Words, strings (with their quotes), newlines and signs; comments and spaces are dropped."""
    found: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup == "heredoc":
            raise Refused(
                "a module file holds what the scan does not read",
                code="module_unreadable",
            )
        if match.lastgroup != "gap":
            found.append(match.group())
        position = match.end()
    return found


def check(
    files: Mapping[Path, str],
    allowed_providers: frozenset[str],
    *,
    provisioners_admitted: bool,
) -> None:
    """Refuse a module (relative path → text of each of its Terraform files) that reaches out.

    Raises Refused: module_unreadable, provisioner_not_admitted, data_source_not_admitted,
    module_source_not_admitted, provider_not_admitted.
    """
    folders: dict[Path, list[list[str]]] = {}
    for path, text in files.items():
        if path.name.endswith(".json"):
            raise Refused("a module may not hold .tf.json files", code="module_unreadable")
        folders.setdefault(path.parent, []).append(tokens(text))
    for lists in folders.values():
        if not provisioners_admitted and any("provisioner" in one for one in lists):
            raise Refused("the module holds a provisioner", code="provisioner_not_admitted")
        _check_providers(lists, allowed_providers)
        for one in lists:
            _check_module_sources(one)


def _check_module_sources(words: list[str]) -> None:
    for path, position in _walk(words):
        if path[:1] != ("module",) or words[position].strip('"') != "source":
            continue
        value = words[position + 2] if position + 2 < len(words) else ""
        if not value.startswith('"./') or ".." in value:
            raise Refused(
                "a module source must lie inside the module",
                code="module_source_not_admitted",
            )


def _check_providers(lists: list[list[str]], allowed: frozenset[str]) -> None:
    sources: dict[str, str] = {"terraform": BUILTIN}
    used: set[str] = set()
    for words in lists:
        for path, position in _walk(words):
            word, following = words[position], words[position + 1 : position + 3]
            if path[:2] == ("terraform", "required_providers") and "/" in word:
                sources[path[-1]] = _address(word.strip('"'))
            elif not path and word in _TYPED and following:
                kind = following[0].strip('"')
                if word == "data" and kind in _REACHES_OUT:
                    raise Refused("a data source reaches out", code="data_source_not_admitted")
                used.add(kind.split("_", 1)[0])
            elif word == "provider" and following:
                used.add((following[1] if following[0] == "=" else following[0]).strip('"'))
    addresses = {
        *sources.values(),
        *(sources.get(one, _address(f"hashicorp/{one}")) for one in used),
    }
    if not addresses <= allowed:
        raise Refused("a provider is not on the allow-list", code="provider_not_admitted")


def _address(source: str) -> str:
    return source if source.count("/") == 2 else f"registry.terraform.io/{source}"  # noqa: PLR2004


def _walk(words: list[str]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Each token's position with the names of the braces around it."""
    stack: list[str] = []
    first = ""  # the first word of the statement: what a brace on this line belongs to
    for position, word in enumerate(words):
        if word == "}" and stack:
            stack.pop()
        elif word == "{":
            stack.append(first)
            first = ""
        elif word in "\n,":
            first = ""
        else:
            first = first or word.strip('"')
            yield tuple(stack), position
