"""AWS resources by their ARN, in Terraform's words. Not what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from control_plane.provisioning.clouds.port import Found

_Import: TypeAlias = Literal["arn", "name"]
ROLE: Final = "aws_iam_role"
_PARTS: Final = 6


class _Kind(NamedTuple):
    type: str
    by: _Import = "name"


# By service and the first word of the resource; a bucket has none.
KINDS: Final[Mapping[tuple[str, str], _Kind]] = {
    ("s3", ""): _Kind("aws_s3_bucket"),
    ("ec2", "vpc"): _Kind("aws_vpc"),
    ("ec2", "subnet"): _Kind("aws_subnet"),
    ("ec2", "security-group"): _Kind("aws_security_group"),
    ("ec2", "route-table"): _Kind("aws_route_table"),
    ("ec2", "vpc-endpoint"): _Kind("aws_vpc_endpoint"),
    ("ec2", "network-acl"): _Kind("aws_network_acl"),
    ("kms", "key"): _Kind("aws_kms_key"),
    ("rds", "db"): _Kind("aws_db_instance"),
    ("rds", "cluster"): _Kind("aws_rds_cluster"),
    ("rds", "subgrp"): _Kind("aws_db_subnet_group"),
    ("rds", "pg"): _Kind("aws_db_parameter_group"),
    ("dynamodb", "table"): _Kind("aws_dynamodb_table"),
    ("secretsmanager", "secret"): _Kind("aws_secretsmanager_secret", "arn"),
    ("iam", "policy"): _Kind("aws_iam_policy", "arn"),
    ("iam", "role"): _Kind(ROLE),
    ("ssm", "parameter"): _Kind("aws_ssm_parameter"),
}


def found_of(arn: str, region: str, labels: Mapping[str, str]) -> Found:
    """The resource of an ARN; an ARN of a kind that is not known has no type and imports as itself.

    `region` is where it was asked for: that of what has none in its ARN.
    """
    _, _, service, own, _, resource = arn.split(":", _PARTS - 1)
    word, name = _divided(resource)
    kind = KINDS.get((service, word), _Kind("", "arn"))
    if service == "ssm":
        name = f"/{name}"
    return Found(
        type=kind.type,
        import_id=arn if kind.by == "arn" else name,
        name=name,
        region=own or region,
        labels=labels,
    )


def _divided(resource: str) -> tuple[str, str]:
    for sign in ("/", ":"):
        word, separator, name = resource.partition(sign)
        if separator and (sign == "/" or "/" not in word):
            # What stands first divides: `secret:a/b` is a secret, `vpc/vpc-1` a vpc.
            other = ":" if sign == "/" else "/"
            if other not in word:
                return word, name
    return "", resource
