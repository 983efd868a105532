"""Faults that the demo page may order on its own simulator, such as cutting the line: who may, and what was asked.

An order is checked more strictly than a handshake: the demo's own key in a header, and an Origin that is one of the
page's own addresses, so no other page a visitor has open can order one. What a fault does is not known here.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

PATH = "/demo/fault"

_BODY_WITHIN_S = 5.0
_LONGEST_BODY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Faults:
    """What a tenant's page may do to the far end of its line."""

    tenant: str
    kinds: Mapping[str, Callable[[], int]]
    """By name; each returns how many connections it was done to."""


async def kind_of(request: web.Request) -> Any:
    """What `{"kind": …}` in the body names; None for any other body, and for one that is long or does not come."""
    length = request.content_length
    if length is None or length > _LONGEST_BODY_BYTES:
        return None
    try:
        async with asyncio.timeout(_BODY_WITHIN_S):
            body = json.loads(await request.read())
    except (TimeoutError, ValueError, ConnectionError, web.RequestPayloadError):
        return None
    return body.get("kind") if isinstance(body, dict) else None
