"""The listeners' sections."""

import pytest

from relay.config import ConfigError, build
from relay.config.listening import Admin, Listen


def test_defaults_let_in_nobody_by_name_and_believe_no_proxy() -> None:
    """What is not set is decided by where the listener is bound."""
    listen = Listen()

    assert (listen.hosts, listen.trusted_proxies, Admin().hosts) == (None, [], [])
    assert (listen.max_connections, listen.connections_per_address, listen.requests_per_address) == (None, None, None)


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("listen", "hosts", ["https://voice.example.com"], "no scheme"),
        ("listen", "hosts", ["voice.example.com:443"], "no port"),
        ("listen", "hosts", ["Voice.example.com"], "lower case"),
        ("listen", "hosts", ["*.example.com"], "is not a name"),
        ("admin", "hosts", [""], "is not a name"),
        ("listen", "trusted_proxies", ["10.0.0.1/8"], "is not a network"),
        ("listen", "trusted_proxies", ["proxy.example.com"], "is not a network"),
        ("listen", "connections_per_address", 0, "greater than or equal to 1"),
        ("listen", "handshake_timeout", "0s", "greater than 0"),
        ("listen", "path_prefix", "voice", "must be empty or like"),
    ],
)
def test_mistakes_are_told(section: str, key: str, value: object, words: str) -> None:
    """Each with its path."""
    tree = {
        "upstream": {"api_key": "k" * 20},
        "policies": {"p": {"model": "m"}},
        "tenants": [{"id": "t", "policy": "p", "keys": ["k" * 20]}],
        section: {key: value},
    }
    with pytest.raises(ConfigError) as raised:
        build(tree)

    assert f"{section}.{key}" in str(raised.value)
    assert words in str(raised.value)
