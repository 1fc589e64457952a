"""What a cloud's provider declares, read from its schema file. Not how Terraform is told."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

Block: TypeAlias = dict[
    str, Any
]  # attributes and block_types, as `providers schema -json` has them

SCHEMAS: Final = Path(__file__).resolve().parent.parent / "schemas"


@dataclass(frozen=True)
class ProviderSchema:
    """One schema file; its format stands in the README beside the files."""

    provider: str
    version: str
    provider_block: Block
    resources: dict[str, Block]
    data: dict[str, Block]
    force_new: dict[str, list[str]]

    @property
    def name(self) -> str:
        """The last part of the provider's address: `azurerm`."""
        return self.provider.rsplit("/", 1)[-1]


def schema_path(cloud: str) -> Path:
    """Where the schema of a cloud lies, whether or not it is there."""
    return SCHEMAS / f"{cloud}.json.gz"


def read_schema(path: Path) -> ProviderSchema:
    """Read one schema file."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    return ProviderSchema(
        provider=content["provider"],
        version=content["version"],
        provider_block=content["provider_schema"],
        resources=content["resources"],
        data=content["data"],
        force_new=content.get("force_new", {}),
    )


def write_schema(path: Path, content: dict[str, Any]) -> None:
    """Write one schema file: the same content is the same bytes."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
