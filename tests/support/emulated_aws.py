"""An AWS on 127.0.0.1 (moto) for Terraform's real provider, and words to change it with. Not AWS.

Moto comes from the project's group `clouds`, in an environment of its own: its dependencies are many,
and nothing of ours imports it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import platformdirs
import pytest

from control_plane.provisioning.accounts import CloudAccount, FromEnvironment

REGION: Final = "eu-central-1"
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
_SERVICES: Final = ("ec2", "iam", "kms", "rds", "s3", "secretsmanager", "ssm", "sts")
_ACCOUNT: Final = "123456789012"  # whose everything in moto is
_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_MIRROR_SETTING, _MIRROR_USUAL = "PAYBILL_TEST_MIRROR", "/opt/tf-plugins"
_ENVIRONMENT_SETTING: Final = "PAYBILL_TEST_CLOUDS_ENVIRONMENT"
_PROVIDER: Final = "registry.terraform.io/hashicorp/aws/5.100.0"
_START_S: Final = 300.0  # the first one may install moto
_ASK_S: Final = 30.0


def real_provider() -> Path:
    """A mirror with the real provider; the test is skipped where there is none."""
    mirror = Path(os.environ.get(_MIRROR_SETTING, _MIRROR_USUAL))
    if not (mirror / _PROVIDER).is_dir():
        pytest.skip(
            f"no real AWS provider: {_MIRROR_SETTING} names no mirror with {_PROVIDER}; "
            "get one with: terraform -chdir=control_plane/provisioning/modules/aws/silo "
            "providers mirror FOLDER, and unpack it"
        )
    return mirror


@dataclass(frozen=True)
class EmulatedAws:
    """One running moto, empty at first."""

    url: str

    def account(self, shared: Mapping[str, str]) -> CloudAccount:
        """The account in it, with what stands there for all tenants."""
        return CloudAccount(
            account=_ACCOUNT,
            regions=(REGION,),
            credentials=FromEnvironment(kind="environment", names=tuple(CREDENTIALS)),
            provider={
                "skip_credentials_validation": True,
                "skip_metadata_api_check": "true",
                "s3_use_path_style": True,
                "endpoints": dict.fromkeys(_SERVICES, self.url),
            },
            shared={REGION: shared},
        )

    def iam(self, action: str, **words: str) -> None:
        """One action of IAM."""
        form = {"Action": action, "Version": "2010-05-08", **words}
        self._said("iam", "POST", "/", data=form)

    def s3(self, path: str, body: str) -> None:
        """One PUT to S3."""
        self._said("s3", "PUT", path, content=body)

    def delete(self, path: str) -> None:
        """One DELETE to S3."""
        self._said("s3", "DELETE", path)

    def secret(self, name: str) -> str:
        """What a secret of Secrets Manager holds."""
        headers = {
            "X-Amz-Target": "secretsmanager.GetSecretValue",
            "Content-Type": "application/x-amz-json-1.1",
        }
        answer = self._said("secretsmanager", "POST", "/", headers=headers, json={"SecretId": name})
        return str(answer.json()["SecretString"])

    def _said(
        self,
        service: str,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> httpx2.Response:
        # Moto checks no signature, and sees from it which service is meant.
        scope = f"testing/20260101/{REGION}/{service}/aws4_request"
        signed = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        sent = {**(headers or {}), "Authorization": signed}
        url = f"{self.url}{path}"
        answer = httpx2.request(method, url, headers=sent, timeout=_ASK_S, trust_env=False, **body)
        answer.raise_for_status()
        return answer


@contextmanager
def emulated_aws(log: Path) -> Generator[EmulatedAws]:
    """Start moto; ended with the block. Its errors go to `log`."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv: moto runs in an environment that uv makes (pip install uv)")
    cache = platformdirs.user_cache_path("paybill") / "test-clouds"
    environment = {
        **os.environ,
        "UV_PROJECT_ENVIRONMENT": os.environ.get(_ENVIRONMENT_SETTING, str(cache)),
    }
    words = [uv, "run", "--frozen", "--only-group", "clouds", "--project", str(_CHECKOUT)]
    program = str(Path(__file__).with_name("moto_child.py"))
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*words, "python", program],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            late = threading.Timer(_START_S, child.kill)
            late.start()
            port = child.stdout.readline().decode().strip()
            late.cancel()
            assert port.isdigit(), log.read_text("utf-8")[-4000:]
            yield EmulatedAws(f"http://127.0.0.1:{port}")
        finally:
            child.stdin.close()  # by which it knows that it may end
            child.wait(_ASK_S)
