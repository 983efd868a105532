"""Renders the pages of docs/ that repeat what the code says; `python docs/render.py` rewrites them, a test compares.

Pages: config.md (from the sections of relay.yaml), close-codes.md (from CloseReason), the state diagram inside
life-of-a-session.md (from NEXT), and the tables inside threat-model.md (from threats.yaml, the marks of the tests, and
proof/mutations). Given the JUnit file of a run of those tests, it takes their results from it.
"""

import importlib
import re
import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Union, get_args, get_origin
from xml.etree import ElementTree

import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from relay.config.sections import Config
from relay.config.units import shown_bytes, shown_seconds
from relay.core.closing import CloseReason
from relay.core.state import NEXT, State

DOCS = Path(__file__).parent
ROOT = DOCS.parent
HEAD = "<!-- Made by docs/render.py from the code; edit there. -->\n\n"

CONFIG_HEAD = """# Configuration

One YAML file, by convention `relay.yaml`, read by `relay serve --config FILE`. `relay check FILE` reports every mistake
at once, each with its path, or prints the effective configuration with secrets masked; `relay check --json-schema`
prints a JSON Schema for editors (`# yaml-language-server: $schema=relay.schema.json` in the first line).

- **Secrets** never stand in the file: `"${NAME}"` takes an environment variable, and the `*_file` keys name a file. A
  tenant's key may stand there as its hash, `"sha256:…"`, as `relay token` prints it.
- **Variables** may be part of any other text, and have a default there: `"${NAME:-text}"`. What they hold is text, not
  YAML, and no further variable. The environment sets nothing that the file does not ask it for.
- **Durations** are a number and a unit: `250ms`, `10s`, `5m`, `2h`, `1d`. **Sizes** too: `512B`, `256KiB`, `16MiB`.
- **Unknown keys are errors**, so a misspelt limit can't be silently off; so is a key that stands twice.
- `--set a.b=c` on the command line replaces one key; an element of a list is named by its number (`tenants.0.id=x`).

"""

CLOSE_HEAD = """# Close codes

Every way a session can end. The client gets the code, and the words, followed by a detail where there is one (which
field, which rule); the whole reason has at most 123 bytes. Google's own words stay in the operator's log. *Blame* and
*reason* are labels of `relay_sessions_total` and fields of the session's log line.

Before the upgrade the relay answers with HTTP instead: 400 no valid request or handshake, 401 no valid credential or
two different ones, or a tenant's key in the URL, 403 origin not listed, 404 no such path, 405 not GET, 421 a name in
`Host` that is not the relay's, 426 no upgrade asked for, 429 the tenant has as many sessions as it may, has begun as
many in a minute, or has used up a budget, or its address has too many connections or sends too many requests, 431
headers too large, 503 the relay is full or shutting down, or its ledger fails. 429 and 503 carry `Retry-After`, in
seconds: for a budget, until it begins anew. A refused request is the last one of its connection.

"""


def config_page() -> str:
    """docs/config.md."""
    parts = [HEAD + CONFIG_HEAD, _section("relay.yaml", Config)]
    for name, field in Config.model_fields.items():
        for path, model in _models(name, field.annotation):
            parts.append(_section(path, model))
    return "\n".join(parts)


def _section(path: str, model: type[BaseModel]) -> str:
    lines = [
        f"## {path}",
        "",
        (model.__doc__ or "").strip(),
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        lines.append(f"| `{name}` | {_type(field)} | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _models(path: str, annotation: Any) -> list[tuple[str, type[BaseModel]]]:
    """The section classes inside a type, each with the path it stands at."""
    origin = get_origin(annotation)
    if origin is list:
        return _models(f"{path}[]", get_args(annotation)[0])
    if origin is dict:
        return _models(f"{path}.NAME", get_args(annotation)[1])
    if origin in {Union, types.UnionType}:
        return [found for option in get_args(annotation) for found in _models(path, option)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inner = [
            found
            for name, field in annotation.model_fields.items()
            for found in _models(f"{path}.{name}", field.annotation)
        ]
        return [(path, annotation), *inner]
    return []


def _type(field: FieldInfo) -> str:
    shown = _type_name(field.annotation)
    for extra in field.metadata:
        schema = getattr(extra, "json_schema", None)
        if schema and "ms|s" in schema.get("pattern", ""):
            return "duration"
        if schema and "KiB" in schema.get("pattern", ""):
            return "size"
    return shown


def _type_name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is list:
        return f"list of {_type_name(get_args(annotation)[0])}"
    if origin is dict:
        return "mapping"
    if origin in {Union, types.UnionType}:
        return " or ".join(_type_name(option) for option in get_args(annotation) if option is not type(None))
    if origin is not None and not isinstance(annotation, type):
        options = get_args(annotation)
        if hasattr(annotation, "__metadata__"):
            return _annotated(annotation)
        return ", ".join(f"`{option}`" for option in options)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return _SCALARS[annotation]


_SCALARS = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    Decimal: "amount",
    Path: "path",
    SecretStr: "secret",
}


def _annotated(annotation: Any) -> str:
    for extra in annotation.__metadata__:
        schema = getattr(extra, "json_schema", None)
        if schema and "ms|s" in schema.get("pattern", ""):
            return "duration"
        if schema and "KiB" in schema.get("pattern", ""):
            return "size"
    return _type_name(get_args(annotation)[0])


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "–"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    if _type(field) in {"duration", "size"}:
        shown = shown_seconds(field.default) if _type(field) == "duration" else shown_bytes(field.default)
        return f"`{shown}`"
    return f"`{yaml.safe_dump(field.default, default_flow_style=True).removesuffix('...' + chr(10)).strip()}`"


def close_page() -> str:
    """docs/close-codes.md."""
    lines = [HEAD + CLOSE_HEAD + "| reason | code | blame | try again | words |", "|---|---|---|---|---|"]
    for reason in CloseReason:
        again = "yes" if reason.retryable else "no"
        lines.append(f"| `{reason.label}` | {reason.code} | {reason.blame} | {again} | {reason.text} |")
    return "\n".join(lines) + "\n"


def state_diagram() -> str:
    """The state machine as a Mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.AWAITING_SETUP.value}"]
    lines += [
        f"    {state.value} --> {following.value}" for state in State for following in State if following in NEXT[state]
    ]
    return "\n".join([*lines, f"    {State.CLOSED.value} --> [*]", "```"])


def with_diagram(page: str) -> str:
    """A page with its state diagram brought up to date."""
    return re.sub(r"```mermaid\nstateDiagram-v2.*?```", state_diagram(), page, flags=re.DOTALL)


# The threat model -----------------------------------------------------------------------------------------------------

RESULTS = DOCS / "threat-results.yaml"


def threats() -> dict[str, Any]:
    """docs/threats.yaml: titles of the parts by letter, attacks by row."""
    found: dict[str, Any] = yaml.safe_load((DOCS / "threats.yaml").read_text())
    return found


def holding_tests() -> dict[str, list[tuple[str, str]]]:
    """For each row the tests that are marked with it: file and name."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    held: dict[str, list[tuple[str, str]]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for name, test in _tests_of(module):
            for row in _rows_of(getattr(module, "pytestmark", [])) | _rows_of(getattr(test, "pytestmark", [])):
                held.setdefault(row, []).append((file.relative_to(ROOT).as_posix(), name))
    return held


def _tests_of(holder: Any) -> Iterator[tuple[str, Any]]:
    for name, found in vars(holder).items():
        if getattr(found, "__module__", None) != getattr(holder, "__module__", holder.__name__):
            continue  # it was imported, and is listed where it stands
        if name.startswith("test_"):
            yield name, found
        elif name.startswith("Test") and isinstance(found, type):
            yield name, found
            yield from _tests_of(found)


def _rows_of(marks: Any) -> set[str]:
    """The rows of some marks, and of the marks that stand at single cases of a parametrized test."""
    rows: set[str] = set()
    for mark in marks if isinstance(marks, list | tuple) else [marks]:
        if mark.name == "threat":
            rows |= set(mark.args)
        elif mark.name == "parametrize":
            rows |= _rows_of([inner for case in mark.args[1] for inner in getattr(case, "marks", ())])
    return rows


def threat_results(junit: Path) -> dict[str, Any]:
    """How the marked tests of a run ended, counted for each row."""
    rows: dict[str, dict[str, int]] = {}
    for case in ElementTree.parse(junit).iter("testcase"):  # noqa: S314 - pytest has just written it
        bad = next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), None)
        outcome = {None: "passed", "skipped": "skipped"}.get(bad, "failed")
        for mark in case.iter("property"):
            for row in mark.get("value", "").split() if mark.get("name") == "threat" else []:
                counts = rows.setdefault(row, {})
                counts[outcome] = counts.get(outcome, 0) + 1
    return {"run": f"{datetime.now(UTC):%Y-%m-%d}", "rows": rows}


def threat_tables() -> str:
    """Every row with what holds it, part by part."""
    listed, held = threats(), holding_tests()
    results = yaml.safe_load(RESULTS.read_text()) if RESULTS.exists() else {"run": "never", "rows": {}}
    lines = [f"Results are of {results['run']}."]
    for row, entry in listed.items():
        if isinstance(entry, str):
            lines += ["", f"### {row}. {entry}", "", "| row | attack | must happen | held by | result |"]
            lines += ["|---|---|---|---|---|"]
            continue
        tests = "<br>".join(f"[{name}](../{file})" for file, name in held.get(row, []))
        gap = f"<br>*{entry['gap']}*" if "gap" in entry else ""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in results["rows"].get(row, {}).items())
        lines.append(f"| {row} | {entry['attack']} | {entry['must']} | {tests or '–'}{gap} | {counts or '–'} |")
    return "\n".join(lines)


def mutation_table() -> str:
    """Every protection that is switched off to see a test fail."""
    lines = ["| rows | protection | switched off in | missed by |", "|---|---|---|---|"]
    for file in sorted((ROOT / "proof" / "mutations").glob("*.yaml")):
        for entry in yaml.safe_load(file.read_text()):
            tests = "<br>".join(test.partition("::")[2] for test in entry["tests"])
            rows = ", ".join(entry["rows"]) or "–"
            lines.append(f"| {rows} | {entry['protection']} | `{entry['file']}` | {tests} |")
    return "\n".join(lines)


def with_threats(page: str) -> str:
    """A page with its tables of threats and mutations brought up to date."""
    for name, made in (("rows", threat_tables()), ("mutations", mutation_table())):
        between = f"<!-- {name} -->\n\n{made}\n\n<!-- /{name} -->"
        page = re.sub(f"<!-- {name} -->.*?<!-- /{name} -->", lambda _, made=between: made, page, flags=re.DOTALL)
    return page


def main() -> None:
    """Rewrite the pages."""
    if len(sys.argv) > 1:
        RESULTS.write_text(yaml.safe_dump(threat_results(Path(sys.argv[1]))))
    model = DOCS / "threat-model.md"
    model.write_text(with_threats(model.read_text()))
    (DOCS / "config.md").write_text(config_page())
    (DOCS / "close-codes.md").write_text(close_page())
    life = DOCS / "life-of-a-session.md"
    life.write_text(with_diagram(life.read_text()))


if __name__ == "__main__":
    main()
