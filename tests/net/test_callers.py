"""Who calls, and by which name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.callers import Hops, Hosts, address_of, caller_of, on_loopback

LOOPBACK = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost:8080",
    "app.localhost",
    "127.0.0.1",
    "127.9.9.9:1",
    "[::1]:80",
]
BARE = ["192.168.1.5:8080", "10.0.0.1", "[fd00::5]:8080", "[::ffff:10.0.0.1]"]
DOTLESS = ["relay", "relay:9090", "my_relay:9090"]
FOREIGN = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io:8080",
    "evil.example.",
    "notlocalhost.example",
]
BROKEN = [
    "",
    " ",
    "localhost/",
    "x/#@localhost",
    "user@localhost",
    "localhost:",
    "localhost:999999",
    "localhost:80:80",
    "localhost, evil.example",
    "loc\talhost",
    "[::1",
    "[::1]evil",
    "[localhost]",
    "::1",
    "lоcalhost",  # a Cyrillic letter
    "localhost" + "a" * 300,
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.threat("B4")
def test_loopbacks_names_always_work(host: str) -> None:
    """In any spelling, on any listener."""
    assert host in Hosts([])
    assert host in Hosts(["voice.example.com"])
    assert host in Hosts([], private=True)


@pytest.mark.parametrize("host", BARE + DOTLESS)
@pytest.mark.threat("B4")
def test_what_no_page_can_be_called_works_where_the_network_is_private(host: str) -> None:
    """Probes dial addresses, neighbours in a composition use names without a dot."""
    assert host in Hosts([], private=True)
    assert host not in Hosts([])


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.threat("B4")
def test_foreign_names_are_foreign(host: str) -> None:
    """Whatever they begin or end with; unless every name is admitted, or this one."""
    assert host not in Hosts([])
    assert host not in Hosts(["voice.example.com"])
    assert host not in Hosts([], private=True)
    assert host in Hosts(["*"])
    assert host in Hosts([], everybody=True)


@pytest.mark.parametrize("host", BROKEN)
@pytest.mark.threat("B4", "B10")
def test_what_is_no_name_is_never_admitted(host: str) -> None:
    """Not even where every name is."""
    for hosts in (Hosts([]), Hosts(["*"]), Hosts([], private=True), Hosts([], everybody=True)):
        assert host not in hosts


@pytest.mark.threat("B4")
def test_configured_names_are_exact() -> None:
    """In any case, with any port or a trailing dot, and no part of them."""
    hosts = Hosts(["voice.example.com"])

    assert "Voice.Example.com:443" in hosts
    assert "voice.example.com." in hosts
    assert "a.voice.example.com" not in hosts
    assert "example.com" not in hosts


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([], "10.0.0.1"),
        (["203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),  # the client wrote the first
        (["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
        (["10.9.9.9, 203.0.113.7"], "203.0.113.7"),  # the client claims to be one of our proxies
        (["203.0.113.7, 10.0.0.2"], "203.0.113.7"),  # two proxies of ours
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),  # a header of its own for each
        (["203.0.113.7, 10.0.0.2, 10.0.0.3"], "203.0.113.7"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # a client in our own network
        (["203.0.113.7, nonsense"], "10.0.0.1"),
        (["203.0.113.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        (["203.0.113.7,"], "10.0.0.1"),
        (["unknown"], "10.0.0.1"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7\r\nX: y"], "10.0.0.1"),
        (["203.0.113.7" + ", 10.0.0.2" * 4000], "10.0.0.2"),
    ],
)
@pytest.mark.threat("B13")
def test_the_right_most_address_that_is_not_ours_counts(forwarded: list[str], client: str) -> None:
    """What stands left of it was written by whoever sent the request."""
    hops = Hops(["10.0.0.0/8", "fd00::/8"])

    assert str(hops.client(address_of("10.0.0.1"), forwarded)) == client


@pytest.mark.parametrize("peer", ["203.0.113.7", "127.0.0.1", "11.0.0.1", "::1"])
@pytest.mark.threat("B13")
def test_nobody_else_is_believed(peer: str) -> None:
    """A peer that is not one of our proxies is the client, whatever it says; by default there are none."""
    for hops in (Hops(["10.0.0.0/8"]), Hops()):
        assert str(hops.client(address_of(peer), ["198.51.100.1"])) == peer


@given(st.lists(st.text(max_size=60), max_size=5))
@pytest.mark.threat("B13")
def test_no_header_breaks_it(forwarded: list[str]) -> None:
    """Whatever stands there, the answer is an address."""
    assert Hops(["10.0.0.0/8"]).client(address_of("10.0.0.1"), forwarded) is not None


def test_a_customer_of_ipv6_is_one_caller() -> None:
    """Who has 2^64 addresses has one share all the same."""
    assert caller_of(address_of("2001:db8::1")) == caller_of(address_of("2001:db8::ffff:1")) == "2001:db8::/64"
    assert caller_of(address_of("2001:db8:0:1::1")) != caller_of(address_of("2001:db8::1"))
    assert caller_of(address_of("::ffff:203.0.113.7")) == "203.0.113.7"
    assert caller_of(address_of("")) == "unknown"


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_loopback_is_known(host: str, local: bool) -> None:
    """Defaults depend on where a listener is bound."""
    assert on_loopback(host) is local
