"""The static pages, read into memory once: a fixed list of files, so no request names a path on disk."""

from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "worker-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Everything from our own origin, nothing inline, no frame around us."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of a page."""

    content_type: str
    body: bytes


def demo() -> dict[str, Asset]:
    """The demo page's files by the path they are served at: `/` and `/demo/…`."""
    return _page("demo", "/", "/demo/")


def operator() -> dict[str, Asset]:
    """The operator's page by the path it is served at on the admin listener: `/admin/` and what lies under it."""
    return _page("operator", "/admin/", "/admin/")


def admin_description(version: str) -> dict[str, Any]:
    """The OpenAPI document of the admin API, for this version of the relay."""
    text = resources.files(__package__).joinpath("admin-openapi.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    document["info"]["version"] = version
    return document


def _page(folder: str, index: str, prefix: str) -> dict[str, Asset]:
    base = resources.files(__package__).joinpath("base.css")  # which all pages share
    assets = {prefix + base.name: Asset(_TYPES[".css"], base.read_bytes())}
    for file in resources.files(__package__).joinpath(folder).iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in _TYPES:
            path = index if file.name == "index.html" else prefix + file.name
            assets[path] = Asset(_TYPES[suffix], file.read_bytes())
    return assets
