"""Where usage records go beside the log: a file that is rotated, a webhook that is signed."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from relay.config.base import PRIVATE_NETWORK, Section, is_here
from relay.config.units import Bytes, Seconds


class UsageFile(Section):
    """Usage records as JSON lines in a file that is rotated."""

    path: Path = Field(description="The file; older ones have .1, .2 and so on behind its name.")
    max_size: Bytes = Field(64 * 1024**2, ge=4096, description="Size at which a new one is begun.")
    keep: int = Field(10, ge=1, le=1000, description="Older files that are kept.")
    spool: Bytes = Field(8 * 1024**2, ge=4096, description="Memory for records while the disk takes none.")


class Webhook(Section):
    """Usage records, and budgets that reach a level, as signed POST requests; usage.md says how to check one."""

    private_network: bool = Field(False, description=PRIVATE_NETWORK + " Unencrypted http:// too.")
    url: str = Field(description="Where to send them: https://…, or http:// on this machine.")
    secret: SecretStr | None = Field(
        None, description='Signs them, 16 characters or more, or "whsec_" and base64; only as "${NAME}".'
    )
    secret_file: Path | None = Field(None, description="File that holds this secret.")
    timeout: Seconds = Field(10.0, gt=0, description="For one request.")
    batch: int = Field(100, ge=1, le=1000, description="Records in one request.")
    spool: Bytes = Field(8 * 1024**2, ge=4096, description="Memory for records while nobody takes them.")
    longest_pause: Seconds = Field(60.0, gt=0, description="Between two attempts; pauses are random and grow.")

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str, others: ValidationInfo) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http:// or https:// address")
        if parts.scheme == "http" and not (is_here(url) or others.data.get("private_network")):
            raise ValueError("must be https://, unless it is on this machine or private_network is set")
        if parts.username or parts.password or parts.fragment:
            raise ValueError("may have no user and no fragment: requests are signed with the secret")
        return url

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("needs secret or secret_file, and not both")
        return self
