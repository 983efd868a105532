"""The static pages of the public listener, from memory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import hdrs, web

from relay.net.faults import Faults
from relay.net.refusals import RefusedError
from relay.web import CONTENT_SECURITY_POLICY, Asset


@dataclass(frozen=True, slots=True)
class Pages:
    """Static pages and the demo's configuration, by path."""

    assets: Mapping[str, Asset]
    demo: Mapping[str, Any] | None = field(default=None, repr=False)
    faults: Faults | None = None
    """What the demo page may do to its simulator; None where it talks to Gemini."""

    def answer(self, request: web.Request, path: str) -> web.StreamResponse:
        """The file at a path, which is looked up and never opened. Raises RefusedError."""
        if path == "/demo/config.json" and self.demo is not None:
            asset = Asset("application/json", json.dumps(self.demo).encode())
        elif path in self.assets:
            asset = self.assets[path]
        else:
            raise RefusedError(404, "path", "there is nothing at this path")
        if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
            raise RefusedError(405, "method", "only GET works here")
        headers = {
            "Content-Type": asset.content_type,
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        return web.Response(body=asset.body, headers=headers)
