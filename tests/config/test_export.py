"""Where usage records go, and who may ask for them: what may be configured, and what is a mistake."""

from pathlib import Path
from typing import Any

import pytest

from relay import config as reading
from relay.app import Relay
from relay.config import Config, ConfigError
from tests.config.test_accounting import loaded


def config(**usage: Any) -> Config:
    """A configuration with this usage section."""
    return loaded(usage=usage)


def test_nothing_but_the_log_unless_it_is_asked_for() -> None:
    """No file and no webhook."""
    usage = config().usage
    assert (usage.log, usage.file, usage.webhook) == (True, None, None)


def test_a_file_and_a_webhook() -> None:
    """Sizes and durations in their units."""
    usage = config(
        file={"path": "/tmp/usage.jsonl", "max_size": "1MiB", "keep": 3},
        webhook={"url": "https://billing.example.com/hook?x=1", "secret": "0123456789abcdef", "timeout": "3s"},
    ).usage
    assert usage.file is not None
    assert usage.webhook is not None
    assert (usage.file.path, usage.file.max_size, usage.file.keep) == (Path("/tmp/usage.jsonl"), 2**20, 3)
    assert (usage.webhook.timeout, usage.webhook.batch) == (3.0, 100)


@pytest.mark.parametrize(
    ("webhook", "words"),
    [
        ({"url": "https://x.example"}, "needs secret or secret_file"),
        ({"url": "https://x.example", "secret": "0123456789abcdef", "secret_file": "/s"}, "and not both"),
        ({"url": "ftp://x.example", "secret": "0123456789abcdef"}, "must be an http:// or https:// address"),
        ({"url": "https://", "secret": "0123456789abcdef"}, "must be an http:// or https:// address"),
        ({"url": "https://user:pass@x.example", "secret": "0123456789abcdef"}, "may have no user"),
    ],
)
def test_what_a_webhook_must_have(webhook: dict[str, Any], words: str) -> None:
    """An address that says nothing of its own secret, and one secret to sign with."""
    with pytest.raises(ConfigError, match=words) as raised:
        config(webhook=webhook)
    assert "pass@" not in str(raised.value)


@pytest.mark.parametrize(
    ("secret", "words"), [("short", "less than 16 bytes"), ("whsec_AAAA", "less than 16"), ("whsec_???", "not base64")]
)
def test_a_secret_that_can_t_sign(secret: str, words: str) -> None:
    """It is told when the relay starts, without the secret."""
    with pytest.raises(ConfigError, match=words) as raised:
        Relay(config(webhook={"url": "https://x.example", "secret": secret}))
    assert secret not in str(raised.value)


def test_the_operator_s_token_is_a_secret(tmp_path: Path) -> None:
    """From the environment or a file, not both, never in the file itself, and nothing that can be guessed."""
    path = tmp_path / "relay.yaml"
    path.write_text("admin: {token: guessed}\nusage: {webhook: {url: 'https://x', secret: told}}")
    with pytest.raises(ConfigError) as raised:
        reading.load(path, {})
    for place in ("admin.token", "usage.webhook.secret"):
        assert any(line.startswith(f"{place}: is a secret") for line in raised.value.problems)
    with pytest.raises(ConfigError, match="admin: has both token and token_file"):
        loaded(admin={"token": "0123456789abcdef", "token_file": str(path)})
    with pytest.raises(ConfigError, match=r"admin\.token: has less than 16 characters"):
        Relay(loaded(admin={"token": "short"}))
