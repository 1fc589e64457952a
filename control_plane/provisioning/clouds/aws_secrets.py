"""The login that lies in Secrets Manager of an AWS account, through boto3. It reads one value, and keeps none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.aws import clients, code_of, status_of
from control_plane.provisioning.clouds.faults import told
from control_plane.provisioning.clouds.sdk import PATIENCE, Patience
from control_plane.secrets.owner_login import OwnerLogin, missing, parsed

_ABSENT: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})


class AwsSecrets:
    """SecretSource in the secret manager of one account and region: a reference is a secret's ARN there.

    The account's credentials need `secretsmanager:GetSecretValue` on the secret, and
    `kms:Decrypt` on its key.
    """

    def __init__(
        self,
        account: CloudAccount,
        credentials: Mapping[str, str],
        region: str,
        patience: Patience = PATIENCE,
    ) -> None:
        self._account = account
        self._credentials = credentials
        self._region = region
        self._patience = patience

    def get(self, reference: str) -> OwnerLogin:
        """The login that lies there.

        Raises Unavailable: `stack_login_missing`; `cloud_unavailable`, `credentials_missing`,
        `credentials_refused`, `sdk_missing`.
        """
        if not self._is_ours(reference):
            raise missing("its reference is of no secret of the account and region")
        with told("aws", status_of):
            client = clients(self._account, self._credentials, self._patience)(
                "secretsmanager", self._region
            )
            try:
                content = client.get_secret_value(SecretId=reference).get("SecretString")
            except Exception as error:
                if code_of(error) in _ABSENT:
                    raise missing("there is no such secret") from None
                raise
        if not isinstance(content, str):
            raise missing("the secret is no text")
        return parsed(content.encode())

    def _is_ours(self, reference: str) -> bool:
        mine = rf"secretsmanager:{re.escape(self._region)}:{re.escape(self._account.account)}"
        return re.fullmatch(rf"arn:aws[a-z-]*:{mine}:secret:[!-~]{{1,512}}", reference) is not None
