"""docs/sdks.md says what is tested; this holds it equal to what the tests do."""

import re

import pytest

from tests.e2e.sdk.driving import JAVASCRIPT, PYTHON_1, PYTHON_3, Sdk
from tests.support import ROOT


@pytest.mark.parametrize(
    ("sdk", "package"),
    [(PYTHON_3, "google-genai"), (PYTHON_1, "google-genai"), (JAVASCRIPT, "@google/genai (Node)")],
    ids=str,
)
def test_table_names_what_is_tested(sdk: Sdk, package: str) -> None:
    """The table has a row for each SDK with the version, the path and the place of the key that the tests see."""
    page = (ROOT / "docs" / "sdks.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if row[:2] == [package, sdk.version]]
    assert row[3] == f"`{sdk.slash}ws/…{sdk.api_version}…`"
    assert row[4] == ("`?key=`" if sdk.query else "`x-goog-api-key`")


def test_links_lead_somewhere() -> None:
    """Every relative link of the page and of the examples' pages is a file or folder of the repository."""
    pages = [ROOT / "docs" / "sdks.md", *(ROOT / "examples").rglob("*.md")]
    pages = [page for page in pages if "node_modules" not in page.parts]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8"))]
    assert len(links) > 4
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
