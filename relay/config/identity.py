"""The section about tokens of a tenant's own identity provider."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from relay.config.base import PRIVATE_NETWORK, Section, is_here
from relay.config.units import Seconds


class JwtClaims(Section):
    """Which claims of a token say what; a token without one that is named here is refused."""

    end_user: str = Field("sub", description="Who the end user is.")
    tenant: str | None = Field(None, description="The tenant's `id`; needed where tenants share issuer and audience.")
    session_seconds: str | None = Field(None, description="Longest session, a number of seconds.")
    seconds: str | None = Field(None, description="Seconds of all sessions of the token together.")
    tokens: str | None = Field(None, description="Tokens of them all.")
    money: str | None = Field(None, description="Their cost, a number or text in the currency of `prices`.")


class Jwt(Section):
    """Tokens of a tenant's own identity provider, instead of tickets; tickets.md tells more."""

    issuer: str = Field(min_length=1, description="What `iss` must be, exactly.")
    audience: str = Field(min_length=1, description="What `aud` must be, exactly; a list is refused.")
    jwks_url: str | None = Field(None, description="Address of its key set: https://, or http:// on this machine.")
    private_network: bool = Field(False, description=PRIVATE_NETWORK)
    keys_file: Path | None = Field(None, description="Or a file with the key set (JWKS).")
    algorithms: list[Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]] = Field(
        ["RS256", "ES256"], min_length=1, description="Signatures that are accepted."
    )
    claims: JwtClaims = Field(JwtClaims(), description="Which claims say what.")
    leeway: Seconds = Field(10.0, ge=0, le=300, description="How much clocks may differ.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.jwks_url is None) == (self.keys_file is None):
            raise ValueError("needs jwks_url or keys_file, and not both")
        if self.keys_file is not None and not self.keys_file.is_file():
            raise ValueError("keys_file: no such file")
        return self

    @field_validator("jwks_url")
    @classmethod
    def _secure(cls, url: str | None) -> str | None:
        if url is None:
            return url
        parts = urlsplit(url)
        local = parts.scheme == "http" and is_here(url)
        if not parts.hostname or parts.username or not (local or parts.scheme == "https"):
            raise ValueError("must be an https:// address without a user")
        return url
