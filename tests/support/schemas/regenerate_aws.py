"""Makes aws.json.gz anew out of the real provider. Not run by any test.

    uv run --no-sync python -m tests.support.schemas.regenerate_aws MIRROR

MIRROR is a folder of provider packages with hashicorp/aws in it, as Terraform's mirrors are laid
out. What is kept is what our modules name: the resource and data types in their files.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, cast

from control_plane.provisioning.stacks import MODULES
from tests.support.simulated.mirror import cli_config
from tests.support.simulated.schema import schema_path, write_schema

PROVIDER: Final = "registry.terraform.io/hashicorp/aws"
_DEADLINE_S: Final = 300
_BLOCK: Final = re.compile(r'^(resource|data) "(aws_\w+)"', re.MULTILINE)
_PINNED: Final = re.compile(r'version\s*=\s*"= ([\d.]+)"')
_LEFT_OUT: Final = {"deprecated", "description", "description_kind"}
# What the published schema does not tell, from the provider's documentation: another value of these
# is another resource. Only what our modules set is here.
FORCE_NEW: Final = {
    "aws_db_instance": [
        "availability_zone",
        "db_name",
        "engine",
        "kms_key_id",
        "storage_encrypted",
        "username",
    ],
    "aws_db_subnet_group": ["name"],
    "aws_iam_role": ["name"],
    "aws_iam_role_policy": ["name", "role"],
    "aws_kms_alias": ["name"],
    "aws_s3_bucket": ["bucket"],
    "aws_s3_bucket_ownership_controls": ["bucket"],
    "aws_s3_bucket_policy": ["bucket"],
    "aws_s3_bucket_public_access_block": ["bucket"],
    "aws_s3_bucket_server_side_encryption_configuration": ["bucket"],
    "aws_s3_bucket_versioning": ["bucket"],
    "aws_secretsmanager_secret": ["name"],
    "aws_secretsmanager_secret_version": ["secret_id"],
    "aws_security_group": ["description", "name", "vpc_id"],
    "aws_ssm_parameter": ["name"],
    "aws_subnet": ["availability_zone", "cidr_block", "vpc_id"],
    "aws_vpc": ["cidr_block"],
}


def main(mirror: str) -> None:
    """Write the schema file."""
    text = "".join(one.read_text("utf-8") for one in sorted((MODULES / "aws").rglob("*.tf")))
    used = {
        kind: {name for word, name in _BLOCK.findall(text) if word == kind}
        for kind in ("resource", "data")
    }
    versions = set(_PINNED.findall(text))
    if len(versions) != 1:
        raise SystemExit("the modules do not pin one version of the provider")
    version = versions.pop()
    said = _asked(Path(mirror).resolve(), version)["provider_schemas"][PROVIDER]
    write_schema(
        schema_path("aws"),
        {
            "provider": PROVIDER,
            "version": version,
            "licence": "MPL-2.0",
            "origin": "terraform providers schema -json, asked of the provider's own binary",
            "provider_schema": _bare(said["provider"]["block"]),
            "resources": _kept(said["resource_schemas"], used["resource"]),
            "data": _kept(said["data_source_schemas"], used["data"]),
            "force_new": {name: FORCE_NEW[name] for name in used["resource"] if name in FORCE_NEW},
        },
    )


def _asked(mirror: Path, version: str) -> dict[str, Any]:
    """What `terraform providers schema -json` says with one provider configured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = {"required_providers": {"aws": {"source": "hashicorp/aws", "version": version}}}
        (folder / "main.tf.json").write_text(json.dumps({"terraform": wanted}), encoding="utf-8")
        (folder / "terraform.rc").write_text(cli_config(mirror), encoding="utf-8")
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": name}
        environment["TF_CLI_CONFIG_FILE"] = str(folder / "terraform.rc")
        for words in (("init",), ("providers", "schema", "-json")):
            ran = subprocess.run(
                ["terraform", *words],
                cwd=folder,
                env=environment,
                capture_output=True,
                check=True,
                timeout=_DEADLINE_S,
            )
    said: dict[str, Any] = json.loads(ran.stdout)
    return said


def _kept(schemas: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: _bare(schemas[name]["block"]) for name in sorted(names)}


def _bare(block: dict[str, Any]) -> dict[str, Any]:
    """The same without words and warnings, which nothing reads; an argument may be called so."""
    return {
        key: _bare(cast("dict[str, Any]", one)) if isinstance(one, dict) else one
        for key, one in block.items()
        if key not in _LEFT_OUT or isinstance(one, dict)
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
