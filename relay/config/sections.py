"""The sections of relay.yaml as frozen, validated data; each key's description is also its line in docs/config.md.

Nothing here reads a file or the environment; `relay.config.loading` does.
"""

import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from relay.config.accounting import Prices, Quotas, Store, UsageRecords
from relay.config.base import PRIVATE_NETWORK, Name, is_here
from relay.config.base import Section as _Section
from relay.config.identity import Jwt
from relay.config.listening import Admin, Listen
from relay.config.units import Bytes, Seconds
from relay.core import policy as core
from relay.core import schema
from relay.core.client_frames import canonical
from relay.core.refusals import Refusal


class Vertex(_Section):
    """Gemini on Vertex (Gemini Enterprise Agent Platform) instead of the Developer API; vertex.md tells more."""

    project: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.:-]{0,62}$",
        description="Google Cloud project; in express mode none, but an API key.",
    )
    location: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9-]{0,30}$",
        description="Where it serves the project: a region such as us-central1, or `us`, `eu`, `global`.",
    )
    api_version: Literal["v1", "v1beta1"] = Field("v1beta1", description="Version in Google's path.")
    credentials_file: Path | None = Field(
        None, description="JSON file of a service account or workload identity; else application default credentials."
    )
    access_token_file: Path | None = Field(
        None, description="File that holds an access token and is written anew before it expires."
    )


class Upstream(_Section):
    """Where Gemini is, and the relay's credentials there: an API key or a project on Vertex."""

    api_key: SecretStr | None = Field(None, description='Google\'s API key; only as "${NAME}".')
    api_key_file: Path | None = Field(None, description="File that holds Google's API key.")
    vertex: Vertex | None = Field(None, description="Use Vertex.")
    private_network: bool = Field(False, description=PRIVATE_NETWORK + " Unencrypted ws:// too.")
    base_url: str = Field(
        "", validate_default=True, description="Address of `relay sim` or the like; Google's own when empty."
    )
    api_version: Literal["v1", "v1beta", "v1alpha"] = Field(
        "v1beta", description="Version in the Developer API's path; Vertex has its own."
    )
    connect_timeout: Seconds = Field(
        5.0, gt=0, description="For one dial: an access token where one is due, TCP, TLS and the upgrade."
    )
    setup_deadline: Seconds = Field(
        15.0, gt=0, description="From the client's setup to Gemini's answer, retries included."
    )
    answer_timeout: Seconds = Field(10.0, gt=0, description="For Gemini to answer one setup.")
    max_message: Bytes = Field(16 * 1024**2, ge=1024, description="Largest message taken from Gemini.")

    @field_validator("base_url")
    @classmethod
    def _websocket_url(cls, url: str, others: ValidationInfo) -> str:
        if not url:
            return _google(others.data.get("vertex"))
        parts = urlsplit(url)
        if parts.scheme not in {"ws", "wss"} or not parts.hostname:
            raise ValueError("must be a ws:// or wss:// address")
        if parts.scheme == "ws" and not (is_here(url) or others.data.get("private_network")):
            raise ValueError("must be wss://, unless it is on this machine or upstream.private_network is set")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("may have no user, query or fragment: the key goes into upstream.api_key")
        return url.rstrip("/")


class ModelRule(_Section):
    """Which models a policy allows."""

    default: str = Field(description="Used when the client names none; always allowed.")
    allow: list[str] = Field([], description='Further models a client may name; "*" for any name that looks like one.')
    aliases: dict[str, str] = Field({}, description="Names of your own for models.")

    @field_validator("default")
    @classmethod
    def _full(cls, name: str) -> str:
        return full_model(name)


class MessageRule(_Section):
    """What a client may send after its setup."""

    audio: bool = Field(True, description="Microphone audio and the signals that go with it.")
    video: bool = Field(False, description="Video frames.")
    text: bool = Field(True, description="`realtimeInput.text`.")
    client_content: bool = Field(True, description="`clientContent` turns.")
    roles: list[str] = Field(["user"], description='Roles its turns may have; "*" for any.')
    parts: list[str] = Field(
        ["text"], description='Fields its parts, and those of tool responses, may have; "*" for any.'
    )
    history: bool = Field(False, description="Begin with turns of the model (`historyConfig`).")
    tool_response: bool = Field(True, description="Answers to calls that Gemini really made.")
    context_update: bool = Field(False, description="`contextUpdate`, within what setup allows.")


class PolicyRule(_Section):
    """One named policy: what its tenants may ask for."""

    model: ModelRule | str = Field(description="One fixed model, or a default with an allow-list.")
    enforce: dict[str, Any] = Field({}, description="Partial setup that always wins, at any depth.")
    defaults: dict[str, Any] = Field({}, description="Partial setup used where the client is silent.")
    allow: list[str] = Field([], description='Setup paths a client may set; "*" for all.')
    deny: list[str] = Field([], description="Setup paths it may not set though `allow` covers them.")
    messages: MessageRule = Field(MessageRule(), description="What it may send after its setup.")
    on_violation: Literal["reject", "strip"] = Field(
        "reject", description="Close with a reason that names the field, or drop the field."
    )
    unknown_fields: Literal["reject", "pass"] = Field(
        "reject", description="Fields newer than this release of the relay."
    )
    continuity_events: Literal["never", "loss", "always"] = Field(
        "loss", description="Which handovers a client is told of: those that lost something, all, none."
    )
    server_frames: Literal["binary", "text"] = Field(
        "binary", description="Opcode of Gemini's messages: as they come, or text for browsers."
    )

    @field_validator("enforce", "defaults")
    @classmethod
    def _canonical_setup(cls, setup: dict[str, Any]) -> dict[str, Any]:
        body = canonical("Setup", setup, "")
        if isinstance(body, Refusal):
            raise ValueError(body.detail)  # pydantic turns it into a line of the report
        for name in {"model", "sessionResumption"} & body.keys():
            raise ValueError(f"{name} has its own rules, it can't stand here")
        return body

    @field_validator("allow", "deny")
    @classmethod
    def _known_paths(cls, paths: list[str]) -> list[str]:
        return [_canonical_path(path) for path in paths]


class Tenant(_Section):
    """One customer: who is billed, how it is recognised, what it may do."""

    id: Name = Field(description="Name in logs and metrics.")
    keys: list[SecretStr] = Field([], description='Its keys, each as "${NAME}" or as "sha256:…".')
    key_files: list[Path] = Field([], description="Files with one key each.")
    policy: Name = Field(description="Name of its policy.")
    origins: list[str] = Field(
        [],
        description='Web origins its browsers may come from, exactly; "*" for any; none allows no browser.',
    )
    keys_in_url: bool = Field(
        False, description="Take its keys and tokens from `?key=` too, where proxies may log them; tickets always may."
    )
    tickets_from_pages: bool = Field(False, description="Let pages of its `origins` ask for tickets with its key.")
    jwt: Jwt | None = Field(None, description="Take tokens of its own identity provider.")
    quotas: Quotas = Field(Quotas(), description="What it may use.")

    @field_validator("origins")
    @classmethod
    def _exact_origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[a-z0-9.\-\[\]:]+", origin):
                raise ValueError(f'"{origin}" is not an origin such as "https://app.example.com" (lower case, no path)')
        return origins


class Handles(_Section):
    """Resumption handles, as the relay gives them to clients."""

    secret: SecretStr | None = Field(
        None, description="Seals the handles, 16 characters or more; without one they end with the process."
    )
    secret_file: Path | None = Field(None, description="File that holds the secret.")
    lifetime: Seconds = Field(7200.0, gt=0, description="How long a handle may be used; Gemini keeps its own for 2 h.")


class Handover(_Section):
    """Moving a session from one connection to Gemini to the next; docs/continuity.md says what that keeps."""

    rotate_after: Seconds | None = Field(
        510.0,
        gt=0,
        description="Age of a connection at which the next safe point is used; Gemini warns at 540 s.",
    )
    order: Literal["dial_first", "close_first", "overlap"] = Field(
        "dial_first", description="What comes first in a planned handover; docs/adr/0004 has the measurements."
    )
    margin: Seconds = Field(5.0, ge=0, description="Before the end of Gemini's notice a handover is forced.")
    deadline: Seconds = Field(15.0, gt=0, description="For a handover to succeed before the session ends.")
    dials_per_minute: int = Field(5, ge=1, description="Dials of one session in any minute.")
    journal: Bytes = Field(1024**2, ge=1024, description="Client messages kept for replay, for each session.")
    journal_audio: Seconds = Field(10.0, gt=0, description="Microphone audio kept for replay.")
    stall_after: Seconds = Field(20.0, gt=0, description="Silence of a Gemini that owes an answer.")


class Parking(_Section):
    """Sessions whose client dropped, and may come back with a resumption handle."""

    window: Seconds = Field(30.0, ge=0, description="How long such a session is kept alive; 0s ends it at once.")
    buffer: Bytes = Field(1024**2, ge=4096, description="Gemini's messages kept for such a client, for each session.")


class Limits(_Section):
    """Bounds of one session."""

    setup_timeout: Seconds = Field(10.0, gt=0, description="For a client to send its setup.")
    max_message: Bytes = Field(256 * 1024, ge=1024, description="Largest message taken from a client.")
    held: Bytes = Field(1024**2, ge=1024, description="Client messages that wait while Gemini is not ready.")
    buffer: Bytes = Field(256 * 1024, ge=4096, description="Waiting for a slow reader before its peer is paused.")
    session_length: Seconds | None = Field(None, gt=0, description="Longest session.")
    ping_interval: Seconds = Field(20.0, gt=0, description="Silence of a client before it is pinged.")
    client_silence: Seconds = Field(45.0, gt=0, description="Silence of a client before it is given up.")
    stuck_timeout: Seconds = Field(10.0, gt=0, description="For a peer that takes hardly anything to be given up.")
    close_timeout: Seconds = Field(2.0, gt=0, description="For a closing handshake before the socket is cut.")
    drain_timeout: Seconds = Field(10.0, ge=0, description="For sessions to end after SIGTERM.")

    @model_validator(mode="after")
    def _ping_before_silence(self) -> Self:
        if self.ping_interval >= self.client_silence:
            raise ValueError("ping_interval must be shorter than client_silence")
        return self


class Log(_Section):
    """What is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level written.")
    format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else JSON.")


class Demo(_Section):
    """The demo page at `/`."""

    tenant: Name = Field(description="Tenant its visitors talk as, with a key made at each start.")


class Config(_Section):
    """All of relay.yaml."""

    listen: Listen = Field(Listen(), description="The public listener.")
    admin: Admin = Field(Admin(), description="The operator's listener.")
    upstream: Upstream = Field(description="Where Gemini is.")
    policies: dict[Name, PolicyRule] = Field(description="Named policies.")
    tenants: list[Tenant] = Field(description="Who may connect.")
    handles: Handles = Field(Handles(), description="Resumption handles given to clients.")
    handover: Handover = Field(Handover(), description="From one connection to Gemini to the next.")
    parking: Parking = Field(Parking(), description="Sessions whose client dropped.")
    limits: Limits = Field(Limits(), description="Bounds of one session.")
    prices: Prices = Field(Prices(), description="What tokens cost.")
    store: Store = Field(Store(), description="Where usage is kept.")
    usage: UsageRecords = Field(UsageRecords(), description="Usage records.")
    log: Log = Field(Log(), description="Logs.")
    demo: Demo | None = Field(None, description="Serve the demo page. `relay demo` sets this itself.")


def _google(vertex: Vertex | None) -> str:
    """Google's own address of the Live API."""
    if vertex is None:
        return "wss://generativelanguage.googleapis.com"
    if vertex.location in {None, "global"}:
        return "wss://aiplatform.googleapis.com"
    if vertex.location in {"us", "eu"}:
        return f"wss://aiplatform.{vertex.location}.rep.googleapis.com"
    return f"wss://{vertex.location}-aiplatform.googleapis.com"


def full_model(name: str) -> str:
    return name if "/" in name else f"models/{name}"


def _canonical_path(path: str) -> str:
    if path == core.ANYTHING:
        return path
    canonical_path = schema.canonical_path(path)
    if canonical_path is None:
        raise ValueError(f'"{path}" is not a field of setup')
    return canonical_path
