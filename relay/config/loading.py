"""relay.yaml, environment and command line, read into one `Config`: every mistake at once, each with its path."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError

from relay.config import strict_yaml
from relay.config.price_list import PRICE_LIST
from relay.config.sections import Config
from relay.core.secret import Secret

KEY_HASH = re.compile(r"sha256:[0-9a-f]{64}")
"""A tenant key as its SHA-256, the form in which a key may stand in the file."""


class ConfigError(Exception):
    """The configuration can't be used; `problems` has one line for each mistake, beginning with its path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
"""All of a secret: text around it, or instead of it, would be a secret in the file."""
_NESTED = re.compile(r"\$\{[^}]*\$\{")
_SECRET_KEYS = ("api_key", "keys", "secret", "password", "token")


def load(path: Path | None, environment: Mapping[str, str], overrides: list[str] | None = None) -> Config:
    """Read, expand and validate; `overrides` are `a.b=c` texts whose values are read as YAML.

    Raises ConfigError with every problem found, each with its dotted path.
    """
    tree = _read(path) if path is not None else {}
    problems: list[str] = []
    for override in overrides or []:
        _apply(tree, override, problems)
    expanded = _expand(tree, "", environment, problems)
    return build(expanded, problems)


def build(tree: Mapping[str, Any], problems: list[str] | None = None) -> Config:
    """Validate settings that are already expanded. Raises ConfigError, adding to `problems` found before."""
    found = [*(problems or []), *_combinations(tree)]
    explained = {line.split(":", 1)[0] for line in found}
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        # The input is left out of every message: it may be a secret.
        for one in error.errors(include_url=False, include_input=False, include_context=False):
            where = _dotted(one["loc"])
            if where not in explained:
                found.append(f"{where}: {_words(one['msg'], one['type'])}")
        raise ConfigError(found) from None
    if found:
        raise ConfigError(found)
    return config


def _combinations(tree: Mapping[str, Any]) -> list[str]:
    """Mistakes that no section sees alone. Looks at the unvalidated tree, so that they are reported with the rest."""
    problems = _credentials(_mapping(tree.get("upstream")))
    policies = _mapping(tree.get("policies"))
    demo = _mapping(tree.get("demo")).get("tenant")
    tenants = tree.get("tenants")
    seen: set[Any] = set()
    providers: dict[tuple[Any, Any], Any] = {}
    for index, tenant in enumerate(map(_mapping, tenants) if isinstance(tenants, list) else ()):
        here, name, policy = f"tenants[{index}]", tenant.get("id"), tenant.get("policy")
        if isinstance(name, str):
            if name in seen:
                problems.append(f'{here}.id: "{name}" is taken by an earlier tenant')
            seen.add(name)
        if isinstance(policy, str) and policy not in policies:
            known = ", ".join(sorted(map(str, policies))) or "none"
            problems.append(f'{here}.policy: no policy is named "{policy}" (there are: {known})')
        jwt = _mapping(tenant.get("jwt"))
        provider, told_by = (jwt.get("issuer"), jwt.get("audience")), _mapping(jwt.get("claims")).get("tenant")
        if provider in providers and provider != (None, None) and (told_by is None or told_by != providers[provider]):
            words = "an earlier tenant has the same issuer and audience: name one claims.tenant for both"
            problems.append(f"{here}.jwt: {words}")
        providers.setdefault(provider, told_by)
        has_key = tenant.get("keys") or tenant.get("key_files") or tenant.get("jwt")
        if not has_key and (demo is None or demo != name):
            problems.append(f"{here}: needs keys, key_files or jwt, or nobody can connect as it")
    if isinstance(demo, str) and demo not in seen:
        problems.append(f'demo.tenant: no tenant has the id "{demo}"')
    prices = _mapping(tree.get("prices"))
    unknown, rows = prices.get("unknown", "free"), {*PRICE_LIST, *map(str, _mapping(prices.get("models")))}
    if unknown != "free" and unknown not in rows:
        problems.append(f'prices.unknown: there is no row "{unknown}" (there are: free, {", ".join(sorted(rows))})')
    listen, admin = _mapping(tree.get("listen")), _mapping(tree.get("admin"))
    if listen.get("port", 8080) == admin.get("port", 9090) != 0:
        problems.append("admin.port: is the same as listen.port")
    return problems


def _credentials(upstream: Mapping[str, Any]) -> list[str]:
    """What is wrong with the choice of credentials: a key for the Developer API, or a project or a key for Vertex."""
    vertex = upstream.get("vertex")
    keys = [name for name in ("api_key", "api_key_file") if upstream.get(name) is not None]
    problems = ["upstream: has both api_key and api_key_file: keep one"] if len(keys) > 1 else []
    if vertex is None:
        return problems if keys else ["upstream: needs api_key, api_key_file or vertex"]
    vertex = _mapping(vertex)
    given = {name for name in ("location", "credentials_file", "access_token_file") if vertex.get(name) is not None}
    if vertex.get("project") is None:
        if not keys:
            problems.append("upstream.vertex.project: is missing (express mode does without, but needs an API key)")
        problems.extend(f"upstream.vertex.{name}: means nothing without a project" for name in sorted(given))
        return problems
    if keys:
        problems.append(f"upstream.{keys[0]}: is of no use on Vertex with a project: keep one of them")
    if "location" not in given:
        problems.append("upstream.vertex.location: is missing")
    if {"credentials_file", "access_token_file"} <= given:
        problems.append("upstream.vertex: has both credentials_file and access_token_file: keep one")
    return problems


def _mapping(node: object) -> Mapping[str, Any]:
    return node if isinstance(node, dict) else {}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of relay.yaml, for editors."""
    return Config.model_json_schema(mode="validation") | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "relay.yaml",
    }


def shown(config: Config) -> str:
    """The effective configuration as YAML, secrets masked."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = strict_yaml.load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8"]) from None
    except strict_yaml.YamlError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: must be a mapping of sections"])
    return tree


def _apply(tree: dict[str, Any], override: str, problems: list[str]) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        problems.append(f'--set {path}: must look like "listen.port=8081"')
        return
    *steps, last = path.split(".")
    node: Any = tree
    for step in steps:
        node = _step(node, step)
        if node is None:
            problems.append(f"--set {path}: there is no such place")
            return
    try:
        value = strict_yaml.load(text)
    except strict_yaml.YamlError:
        problems.append(f"--set {path}: the value is not valid YAML")
        return
    if isinstance(node, list) and last.isdecimal() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        problems.append(f"--set {path}: there is no such place")


def _step(node: Any, step: str) -> Any:
    if isinstance(node, dict):
        if node.get(step) is None:
            node[step] = {}
        return node[step]
    if isinstance(node, list) and step.isdecimal() and int(step) < len(node):
        return node[int(step)]
    return None


def _expand(node: Any, path: str, environment: Mapping[str, str], problems: list[str]) -> Any:
    if isinstance(node, dict):
        return {
            key: _expand(value, f"{path}.{key}" if path else str(key), environment, problems)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_expand(value, f"{path}[{index}]", environment, problems) for index, value in enumerate(node)]
    if not isinstance(node, str):
        return node
    if _is_secret(path) and not _SECRET_VARIABLE.fullmatch(node) and not KEY_HASH.fullmatch(node):
        problems.append(f'{path}: is a secret: write "${{NAME}}" for an environment variable, or use the _file key')
        return node
    if _NESTED.search(node):
        problems.append(f"{path}: has a variable within a variable")
        return node

    def replace(match: re.Match[str]) -> str:
        value = environment.get(match[1]) or match[2]
        if value is None:
            problems.append(f"{path}: the environment has no {match[1]}")
            return "unset"
        return value

    return _VARIABLE.sub(replace, node)


def _is_secret(path: str) -> bool:
    """Whether a dotted path holds a secret: `upstream.api_key`, `tenants[0].keys[1]`, `handles.secret`."""
    return re.sub(r"\[\d+\]$", "", path).rsplit(".", 1)[-1] in _SECRET_KEYS and not path.startswith("policies")


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step not in {"ModelRule", "str"}:  # pydantic names the branch of a union here
            text += f".{step}" if text else step
    return text or "relay.yaml"


def _words(message: str, kind: str) -> str:
    if kind == "extra_forbidden":
        return "is not a setting (misspelt?)"
    if kind == "missing":
        return "is missing"
    return message.removeprefix("Value error, ").removeprefix("Input ")


def secret_of(secret: SecretStr | None, file: Path | None) -> Secret | None:
    """A secret given directly or by file; whitespace around it is dropped.

    Raises ConfigError when the file can't be read or is empty.
    """
    if file is None:
        return Secret(secret.get_secret_value()) if secret is not None else None
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError([f"{file}: can't be read"]) from None
    if not text:
        raise ConfigError([f"{file}: is empty"])
    return Secret(text)
