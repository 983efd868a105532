"""The pages in docs/ say what the code does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

from prometheus_client import CollectorRegistry

from relay.accounting import price_table
from relay.config.accounting import Prices
from relay.config.price_list import AS_OF, PRICE_LIST
from relay.core.usage import Kind, Modality
from relay.metrics import Metrics

DOCS = Path(__file__).parent.parent / "docs"
REMEDY = "run `python docs/render.py`"


def _render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", DOCS / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_the_configuration_is_documented() -> None:
    """docs/config.md is what the sections of relay.yaml say."""
    assert _render().config_page() == (DOCS / "config.md").read_text(), REMEDY


def test_every_close_code_is_documented() -> None:
    """docs/close-codes.md is the table in the code."""
    assert _render().close_page() == (DOCS / "close-codes.md").read_text(), REMEDY


def test_the_state_diagram_is_the_machine() -> None:
    """The diagram in life-of-a-session.md shows every move and no other."""
    page = (DOCS / "life-of-a-session.md").read_text()

    assert _render().with_diagram(page) == page, REMEDY
    assert _render().state_diagram() in page


def test_every_metric_is_documented_with_its_labels() -> None:
    """docs/metrics.md lists the instruments that exist, no more and no fewer."""
    metrics = Metrics(CollectorRegistry())
    exist = {
        (f"{instrument._name}{'_total' if instrument._type == 'counter' else ''}", ", ".join(instrument._labelnames))
        for instrument in vars(metrics).values()
        if hasattr(instrument, "_labelnames")
    } | {("relay_build_info", "version")}
    rows = re.findall(r"^\| `(relay_\w+)` \| \w+ \| ([^|]*) \|", (DOCS / "metrics.md").read_text(), re.MULTILINE)

    assert set(rows) == exist


def test_the_shipped_prices_are_documented() -> None:
    """The table in docs/usage.md is the list the relay comes with, and its day is the list's."""
    page = (DOCS / "usage.md").read_text()
    rows = {
        row[0].strip("`"): row[1:]
        for line in re.findall(r"^\| `gemini.*$", page, re.MULTILINE)
        for row in [cells(line)]
    }
    columns = [("input", "text"), ("input", "audio"), ("input", "image"), ("output", "text"), ("output", "audio")]

    assert f"prices of {AS_OF} in US dollars" in page
    assert rows == {
        name: [*(row[side].get(modality, "–") for side, modality in columns), row["output"].get("video", "–")]
        for name, row in PRICE_LIST.items()
    }
    assert all(row["input"].get("video") == row["input"].get("image") for row in PRICE_LIST.values())


def test_the_bill_by_hand_is_right() -> None:
    """The example in docs/usage.md, computed."""
    price = price_table(Prices()).of("gemini-3.8-live")
    tokens = {
        (Kind.PROMPT, Modality.TEXT): 332,
        (Kind.PROMPT, Modality.AUDIO): 165,
        (Kind.PROMPT, Modality.UNATTRIBUTED): 25,
        (Kind.RESPONSE, Modality.AUDIO): 50,
        (Kind.RESPONSE, Modality.UNATTRIBUTED): 7,
        (Kind.THOUGHTS, Modality.TEXT): 17,
    }
    assert f"= {price.cost(tokens):f} USD" in (DOCS / "usage.md").read_text()


def cells(line: str) -> list[str]:
    """The cells of a table's line."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_link_between_pages_leads_somewhere() -> None:
    """Relative links in README and docs name files that exist."""
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_threat_model_names_the_tests_that_exist() -> None:
    """Its tables are what threats.yaml, the marks of the tests and the list of mutations say."""
    page = (DOCS / "threat-model.md").read_text()
    render = _render()

    assert render.with_threats(page) == page, REMEDY
    assert render.threat_tables() in page
    assert render.mutation_table() in page


def test_every_attack_is_held_by_a_test() -> None:
    """Or the row says what is missing; no row is left out, and no test names a row that is not there."""
    render = _render()
    rows = {row: entry for row, entry in render.threats().items() if isinstance(entry, dict)}
    held = render.holding_tests()

    parts = {"A": 8, "B": 14, "C": 14, "D": 7, "E": 10, "F": 9}
    assert set(rows) == {f"{part}{number}" for part, count in parts.items() for number in range(1, count + 1)}
    assert set(held) <= set(rows)
    assert [row for row, entry in rows.items() if row not in held and "gap" not in entry] == []
