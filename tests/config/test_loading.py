"""relay.yaml, environment and overrides: what is accepted, and how every mistake is reported."""

from pathlib import Path

import pytest
import yaml

from relay import config
from relay.config import ConfigError

ROOT = Path(__file__).parent.parent.parent

MINIMAL = """
upstream: {api_key: "${GOOGLE}"}
policies: {guided: {model: models/gemini-3.8-live}}
tenants: [{id: acme, keys: ["${ACME}"], policy: guided}]
"""
ENVIRONMENT = {"GOOGLE": "google-key-0123456789", "ACME": "tenant-key-0123456789"}


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "relay.yaml"
    path.write_text(text)
    return path


def _problems(tmp_path: Path, text: str, environment: dict[str, str] = ENVIRONMENT, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        config.load(_file(tmp_path, text), environment, list(overrides))
    return raised.value.problems


def test_a_minimal_file_loads_with_defaults(tmp_path: Path) -> None:
    """Three sections are enough; everything else has a safe default."""
    loaded = config.load(_file(tmp_path, MINIMAL), ENVIRONMENT)

    assert loaded.listen.host == "127.0.0.1"
    assert loaded.limits.max_message == 256 * 1024
    assert loaded.tenants[0].origins == []
    assert loaded.upstream.api_key is not None
    assert loaded.upstream.api_key.get_secret_value() == ENVIRONMENT["GOOGLE"]


def test_the_shipped_file_is_valid() -> None:
    """The relay.yaml in the repository works once its two variables are set."""
    loaded = config.load(ROOT / "relay.yaml", {"GEMINI_API_KEY": "g", "ACME_KEY": "a"})

    assert set(loaded.policies) == {"locked", "guided", "open"}


def test_every_mistake_is_reported_at_once_with_its_path(tmp_path: Path) -> None:
    """Misspelt keys, wrong types, units, unknown references and missing variables come in one report."""
    problems = _problems(
        tmp_path,
        """
        listen: {prot: 8080, port: "http"}
        upstream: {api_key: "${MISSING}"}
        limits: {setup_timeout: 10}
        policies: {guided: {model: models/m, allow: [generationConfig.temprature]}}
        tenants: [{id: acme, keys: ["${ACME}"], policy: other}]
        """,
    )

    assert {problem.split(":")[0] for problem in problems} == {
        "listen.prot",
        "listen.port",
        "upstream.api_key",
        "limits.setup_timeout",
        "policies.guided.allow",
        "tenants[0].policy",
    }
    assert len(problems) == 6


@pytest.mark.threat("F5")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "must be a mapping of sections"),
        ("a: [", "line 1: not valid YAML"),
        ("a: !!python/object/apply:os.system [id]", "not valid YAML"),
        ("a: 2026-02-31", "not valid YAML"),
        ("[" * 1000, "nests too deeply"),
        ("a: &a {b: *a}", "an alias stands for itself"),
        (
            "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10 if n else ['x'])}]" for n in range(30)),
            "has more than",
        ),
        ("upstream: {api_key: literal-secret-key}", "upstream.api_key: is a secret"),
        ("upstream: {api_key: '${GOOGLE}', base_url: 'https://x'}", "upstream.base_url: must be a ws:// or wss://"),
        ("upstream: {api_key: '${GOOGLE}', base_url: 'wss://x/?key=1'}", "upstream.base_url: may have no user"),
        ("upstream: {api_key: 'prefix-${GOOGLE}'}", "upstream.api_key: is a secret"),
        ("upstream: {api_key: '${NOT_SET:-literal-secret-key}'}", "upstream.api_key: is a secret"),
        ("admin: {token: '${NOT_SET:-literal-admin-token}'}", "admin.token: is a secret"),
        ("listen: {host: '${A:-${GOOGLE}}'}", "listen.host: has a variable within a variable"),
        ("listen: {host: '${${GOOGLE}}'}", "listen.host: has a variable within a variable"),
        ("listen: {port: 80, port: 81}", "a key stands here twice"),
        ("tenants: [{id: a, policy: p, Origins: ['*']}]", "tenants[0].Origins: is not a setting"),
        ("limits: {max_mesage: 1KiB}", "limits.max_mesage: is not a setting"),
        ("__proto__: {}", "__proto__: is not a setting"),
        ("upstream: {}", "upstream: needs api_key, api_key_file or vertex"),
        ("tenants: [{id: a, keys: [plain-key], policy: p}]", "tenants[0].keys[0]: is a secret"),
        ("tenants: [{id: a, policy: p}]", "tenants[0]: needs keys, key_files or jwt"),
        ("tenants: [{id: 'a b', policy: p}]", "tenants[0].id: "),
        ("tenants: [{id: a, policy: p, origins: ['https://x/path']}]", "tenants[0].origins: "),
        ("demo: {tenant: ghost}", 'demo.tenant: no tenant has the id "ghost"'),
        ("listen: {port: 9090}", "admin.port: is the same as listen.port"),
        ("listen: {path_prefix: voice/}", "listen.path_prefix: must be empty or like"),
        ("listen: {tls: {cert: /none, key: /none}}", "listen.tls.cert: no such file"),
        ("limits: {ping_interval: 60s}", "limits: ping_interval must be shorter"),
        ("limits: {held: 1MB}", "limits.held: must be a number with a unit"),
        ("policies: {p: {model: m, enforce: {sistem: 1}}}", "policies.p.enforce: sistem is not a field"),
        ("policies: {p: {model: m, enforce: {model: x}}}", "policies.p.enforce: model has its own rules"),
        ("policies: {p: {}}", "policies.p.model: is missing"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    """Each kind of mistake has a line that says where and what."""
    problems = _problems(tmp_path, text)

    assert any(expected in problem for problem in problems), problems


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """A file that is not there is named, without a traceback."""
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "none.yaml", {})


def test_variables_have_defaults(tmp_path: Path) -> None:
    """`${NAME:-text}` stands for text where the environment is silent."""
    text = MINIMAL + 'log: {level: "${LEVEL:-debug}"}\n'

    assert config.load(_file(tmp_path, text), ENVIRONMENT).log.level == "debug"
    assert config.load(_file(tmp_path, text), ENVIRONMENT | {"LEVEL": "error"}).log.level == "error"


@pytest.mark.threat("F5")
def test_the_environment_says_only_what_the_file_asks_it(tmp_path: Path) -> None:
    """No variable overrides a setting by its name, and what stands in one is text, not YAML and not a variable."""
    names = ("LISTEN_HOST", "RELAY_LISTEN_HOST", "RELAY__LISTEN__HOST", "listen.host", "RELAY_ADMIN_HOST", "ADMIN_HOST")
    plain = config.load(_file(tmp_path, MINIMAL), ENVIRONMENT)
    assert config.load(_file(tmp_path, MINIMAL), ENVIRONMENT | dict.fromkeys(names, "0.0.0.0")) == plain
    odd = config.load(_file(tmp_path, MINIMAL), ENVIRONMENT | {"ACME": "${GOOGLE}: [*x, !!python/name:os.system]"})
    assert odd.tenants[0].keys[0].get_secret_value() == "${GOOGLE}: [*x, !!python/name:os.system]"
    wide = MINIMAL + 'listen: {host: "${HOST:-127.0.0.1}"}\n'
    assert config.load(_file(tmp_path, wide), ENVIRONMENT | {"HOST": "::"}).listen.host == "::", "where the file asks"


def test_overrides_reach_into_lists(tmp_path: Path) -> None:
    """`--set a.b=c` replaces one key; a list element is named by its number."""
    overrides = ["listen.port=0", "tenants.0.id=other", "limits.held=2MiB"]
    loaded = config.load(_file(tmp_path, MINIMAL), ENVIRONMENT, overrides)

    assert loaded.listen.port == 0
    assert loaded.tenants[0].id == "other"
    assert loaded.limits.held == 2 * 1024**2


@pytest.mark.parametrize(
    "override", ["listen.port", "=1", "tenants.7.id=x", "tenants.x.id=x", "listen.port=[", "log.level.x=1"]
)
def test_bad_overrides_are_named(tmp_path: Path, override: str) -> None:
    """An override that fits nowhere is reported like any other mistake."""
    assert _problems(tmp_path, MINIMAL + "log: {level: debug}\n", ENVIRONMENT, override)


def test_secrets_can_come_from_files(tmp_path: Path) -> None:
    """`*_file` keys name a file; whitespace around its content is dropped, an empty one is an error."""
    key = tmp_path / "key"
    key.write_text("  file-secret-1\n")
    secret = config.secret_of(None, key)
    key.write_text("\n")

    assert secret is not None
    assert secret.reveal() == "file-secret-1"
    with pytest.raises(ConfigError, match="is empty"):
        config.secret_of(None, key)
    with pytest.raises(ConfigError, match="can't be read"):
        config.secret_of(None, tmp_path / "none")


def test_what_is_shown_can_be_loaded_again_and_holds_no_secret(tmp_path: Path) -> None:
    """The effective configuration is valid relay.yaml but for its masked secrets."""
    text = config.shown(config.load(_file(tmp_path, MINIMAL), ENVIRONMENT))

    assert not any(secret in text for secret in ENVIRONMENT.values())
    tree = yaml.safe_load(text)
    tree["upstream"]["api_key"] = "g"
    tree["tenants"][0]["keys"] = ["k"]
    assert config.build(tree).limits == config.load(_file(tmp_path, MINIMAL), ENVIRONMENT).limits


def test_no_report_contains_a_secret(tmp_path: Path) -> None:
    """Values that fail validation are not quoted."""
    secret = "very-secret-value-1"
    problems = _problems(
        tmp_path, 'upstream: {api_key: ["${S}"], base_url: "${S}"}\nlisten: {port: "${S}"}\n', {"S": secret}
    )

    assert problems
    assert not any(secret in problem for problem in problems)
