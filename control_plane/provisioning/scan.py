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
_BLOCKS: Final = frozenset(
    {
        *("terraform", "variable", "locals", "output", "module", "provider"),
        *("resource", "data", "ephemeral", "moved", "check"),
    }
)
_SETTINGS: Final = frozenset({"required_version", "required_providers"})
_TYPED: Final = frozenset({"resource", "data", "ephemeral"})
_READS: Final = frozenset({"data", "ephemeral"})
_REACHES_OUT: Final = frozenset({"external", "http", "terraform_remote_state"})
_PROVIDER_TEXTS: Final = frozenset({"alias", "region", "resource_provider_registrations"})
# What these read must lie in the module; what the others read is not known before Terraform runs.
_READS_FILE: Final = frozenset(
    {
        *("file", "fileexists", "filebase64", "filemd5", "filesha1", "filesha256", "filesha512"),
        *("filebase64sha256", "filebase64sha512"),
    }
)
_READS_MACHINE: Final = frozenset(
    {"abspath", "fileset", "pathexpand", "templatefile", "templatestring"}
)
_IN_TEMPLATE: Final = re.compile(r"([A-Za-z_][\w-]*)\s*\(")
_IN_MODULE: Final = re.compile(r'"(?:\$\{path\.module\}/)?[\w.-]+(?:/[\w.-]+)*"')


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

    Raises Refused: module_unreadable, block_not_admitted, backend_not_admitted,
    provisioner_not_admitted, data_source_not_admitted, module_source_not_admitted,
    provider_not_admitted, provider_setting_not_admitted, function_not_admitted.
    """
    folders: dict[Path, list[list[str]]] = {}
    for path, text in files.items():
        if path.name.endswith(".json"):
            raise Refused("a module may not hold .tf.json files", code="module_unreadable")
        folders.setdefault(path.parent, []).append(tokens(text))
    for lists in folders.values():
        for one in lists:
            _check_blocks(one)
            _check_functions(one)
        if not provisioners_admitted and any("provisioner" in one for one in lists):
            raise Refused("the module holds a provisioner", code="provisioner_not_admitted")
        _check_providers(lists, allowed_providers)
        for one in lists:
            _check_module_sources(one)
            _check_provider_settings(one)


def _check_blocks(words: list[str]) -> None:
    """Only blocks that say what is made: where state lies and what it adopts or forgets is ours.

    A `moved` block renames what stands, and a plan shows that. `import`, `removed` and `action`
    blocks, and any that Terraform may come to know, are refused; so is all of `terraform` but the
    versions that a module needs.
    """
    for path, position in walk(words):
        if not _is_first(words, position):
            continue
        if not path and words[position] not in _BLOCKS:
            raise Refused("the module holds a block of no use here", code="block_not_admitted")
        if path == ("terraform",) and words[position] not in _SETTINGS:
            raise Refused(
                "the module says where its state lies, or more than which versions it needs",
                code="backend_not_admitted",
            )


def _check_functions(words: list[str]) -> None:
    """A file is read by its name in the module; nothing else of the machine is read at all."""
    for position, word in enumerate(words):
        if word.startswith('"'):
            called = set(_IN_TEMPLATE.findall(" ".join(_templates(word))))
            if called & (_READS_FILE | _READS_MACHINE):
                raise _function_refused()
        elif words[position + 1 : position + 2] == ["("]:
            named = "".join(words[position + 2 : position + 3])
            inside = _IN_MODULE.fullmatch(named) is not None and ".." not in named
            alone = words[position + 3 : position + 4] == [")"]
            if word in _READS_MACHINE or (word in _READS_FILE and not (inside and alone)):
                raise _function_refused()


def _templates(text: str) -> list[str]:
    return re.findall(r"[$%]\{([^{}]*)\}", text)


def _function_refused() -> Refused:
    return Refused("a function reads more than the module", code="function_not_admitted")


def _check_provider_settings(words: list[str]) -> None:
    """How a provider is reached and who it is, its account says; a module names a region at most."""
    for path, position in walk(words):
        if path[:1] != ("provider",) or not words[position].startswith('"'):
            continue
        name = words[position - 2] if words[position - 1] == "=" else ""
        if name not in _PROVIDER_TEXTS:
            raise Refused(
                "a provider's setting is written in the module",
                code="provider_setting_not_admitted",
            )


def _check_module_sources(words: list[str]) -> None:
    for path, position in walk(words):
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
        for path, position in walk(words):
            word, following = words[position], words[position + 1 : position + 3]
            if path[:2] == ("terraform", "required_providers") and "/" in word:
                sources[path[-1]] = _address(word.strip('"'))
            elif path in ((), ("check",)) and word in _TYPED and following:
                kind = following[0].strip('"')
                if word in _READS and kind in _REACHES_OUT:
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


def _is_first(words: list[str], position: int) -> bool:
    """Whether a word begins a statement: it stands first in the file, its line or its block."""
    return position == 0 or words[position - 1] in ("\n", "{", "}")


def walk(words: list[str]) -> Iterator[tuple[tuple[str, ...], int]]:
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
