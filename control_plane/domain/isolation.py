"""The words for where a tenant lives: isolation model and cloud. Not how either is provisioned."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Isolation: TypeAlias = Literal["silo", "bridge", "pooled"]
Cloud: TypeAlias = Literal["local", "aws", "azure", "gcp", "oci", "ibm"]

Size: TypeAlias = Literal["small", "medium", "large"]

ISOLATIONS: tuple[Isolation, ...] = get_args(Isolation)
CLOUDS: tuple[Cloud, ...] = get_args(Cloud)
