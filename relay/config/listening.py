"""The sections about the two listeners: where they are bound, who is let in, and how many."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from relay.config.base import Section
from relay.config.units import Seconds

Port = Annotated[int, Field(ge=0, le=65535, strict=True)]


class Tls(Section):
    """Files of the listener's certificate."""

    cert: Path = Field(description="PEM file with the certificate chain.")
    key: Path = Field(description="PEM file with the private key.")

    @field_validator("cert", "key")
    @classmethod
    def _readable(cls, path: Path) -> Path:
        if not path.is_file():
            raise ValueError("no such file")
        return path


class Listen(Section):
    """The public listener, where clients connect."""

    host: str = Field("127.0.0.1", description="Address to bind; 0.0.0.0 for all.")
    port: Port = Field(8080, description="TCP port; 0 picks a free one.")
    tls: Tls | None = Field(None, description="Serve wss:// directly. The Python SDK always dials wss.")
    path_prefix: str = Field("", description='Path in front of every endpoint, such as "/voice".')
    hosts: list[str] | None = Field(
        None,
        description='Names by which clients reach the relay, such as "voice.example.com"; "*" for any. '
        "Loopback's names always work. When unset, on loopback only those do, on other addresses any name.",
    )
    trusted_proxies: list[str] = Field(
        [], description='Networks of your own proxies, such as "10.0.0.0/8": their `X-Forwarded-For` is believed.'
    )
    max_sessions: int = Field(
        1000, ge=1, description="Sessions at once, all tenants together; more are refused with 503."
    )
    max_connections: int | None = Field(
        None,
        ge=1,
        description="Connections at once, counted from accept; more get 503. Twice `max_sessions` unless set; "
        "never more than the limit on open files has room for.",
    )
    connections_per_address: int | None = Field(
        None, ge=1, description="Of these, from one address; more get 429. 256 unless set; on loopback no limit."
    )
    requests_per_address: int | None = Field(
        None,
        ge=1,
        description="Requests a second from one address; more get 429. 100 unless set; on loopback no limit.",
    )
    handshake_timeout: Seconds = Field(
        10.0, gt=0, description="From a connection to the end of its headers, TLS included; and idle between requests."
    )

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: list[str] | None) -> list[str] | None:
        return hosts if hosts is None else _host_names(hosts)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        for network in networks:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError(f'"{network}" is not a network such as "10.0.0.0/8"') from None
        return networks

    @field_validator("path_prefix")
    @classmethod
    def _rooted(cls, prefix: str) -> str:
        if prefix and not re.fullmatch(r"(/[A-Za-z0-9_.~-]+)+", prefix):
            raise ValueError('must be empty or like "/voice", with no slash at its end')
        return prefix


class Admin(Section):
    """The operator's listener: /healthz, /readyz, /metrics, and with a token /admin/; admin.md tells more."""

    host: str = Field("127.0.0.1", description="Address to bind; keep it off the public network.")
    port: Port = Field(9090, description="TCP port; 0 picks a free one.")
    hosts: list[str] = Field(
        [],
        description="Further names by which you reach it. Loopback's names always work; on other addresses bare "
        "addresses and names without a dot do, too.",
    )
    token: SecretStr | None = Field(
        None, description='Opens the admin API and its page, 16 characters or more; only as "${NAME}".'
    )
    token_file: Path | None = Field(None, description="File that holds this token.")

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: list[str]) -> list[str]:
        return _host_names(hosts)

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("has both token and token_file: keep one")
        return self


def _host_names(hosts: list[str]) -> list[str]:
    for host in hosts:
        if host != "*" and not re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:.]+", host):
            raise ValueError(f'"{host}" is not a name such as "voice.example.com" (lower case, no scheme, no port)')
    return hosts
