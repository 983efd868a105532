"""What every section of relay.yaml has in common."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


PRIVATE_NETWORK = "Let the address's name lead to private addresses (10.…, 192.168.… and the like)."


def is_here(url: str) -> bool:
    """Whether a URL names this machine, so that what is sent there can't be listened to."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


class Section(BaseModel):
    """Unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
