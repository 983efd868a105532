"""The second line of defence: secrets that come back from outside are masked, whichever way they are written."""

import base64
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.secret import MASK, Secret
from relay.scrubber import Scrubber

SECRET = "AKanaryKey-0123456789-abcdef"

pytestmark = pytest.mark.threat("A1")


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"API key {SECRET} not valid",
        f"cut in the middle {SECRET[:15]}",
        f"twice {SECRET} and {SECRET}",
        "a Google key AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "a token auth_tokens/abcdef0123456789",
        "an access token ya29.c.c0abcdef0123456789_-",
        "Authorization: Bearer abc.def.ghi-jkl",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    """Known secrets, their beginnings, and what is shaped like a Google credential."""
    scrubbed = Scrubber([Secret(SECRET)]).scrub(text)

    assert MASK in scrubbed
    assert SECRET[:12] not in scrubbed
    assert "AIzaSy" not in scrubbed
    assert "abcdef0123456789" not in scrubbed
    assert "abc.def" not in scrubbed


def test_short_words_are_no_secrets() -> None:
    """A key of a few letters would mask half of every line."""
    assert Scrubber([Secret("sim")]).scrub("the simulator") == "the simulator"


SECRETS = st.text(string.ascii_letters + string.digits + "-_+/= :é", min_size=8, max_size=60).filter(
    lambda text: len(text.strip()) > 7
)


@given(secret=SECRETS, before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_encoded_secrets_are_masked_too(secret: str, before: bytes, after: bytes) -> None:
    """Percent-coded, in hex of either case, in base64 of either alphabet and at any place: 12 characters never stay."""
    scrubber = Scrubber([Secret(secret)])
    raw = secret.encode()
    coded = {quote(secret, safe=""), raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode()}
    for form in {secret, *coded}:
        assert form[:12] not in scrubber.scrub(f'"{form}"')
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(before + raw + after).decode()
        inside = encode(bytes(len(before)) + raw).decode()
        first = -(-4 * len(before) // 3)
        sure = (len(before) + len(raw)) * 8 // 6
        assert inside[first:sure][:12] not in scrubber.scrub(f"<{whole}>")


def test_learned_secrets_are_masked_and_forgotten_in_turn() -> None:
    """Access tokens follow one another for as long as the process lives; those given at its start stay."""
    scrubber = Scrubber([Secret(SECRET)])
    tokens = [f"{number:02}-good-for-an-hour" for number in range(100)]
    for token in tokens:
        scrubber.learn(Secret(token))
        scrubber.learn(Secret(token))
    shown = scrubber.scrub(" ".join([SECRET, *tokens]))

    assert shown.split()[0] == MASK
    assert tokens[-1] not in shown
    assert tokens[-2] not in shown
    assert tokens[0] in shown


def test_a_thousand_secrets_cost_no_more_than_one() -> None:
    """A line is looked at once, however many tenants have keys."""
    line = "a line of 300 characters, as they are: " + " ".join(f"name{number}=value-{number}" for number in range(17))

    def seconds(count: int) -> float:
        scrubber = Scrubber([Secret(f"{number}-tenant-key-{number}") for number in range(count)])
        began = time.perf_counter()
        for _ in range(300):
            scrubber.scrub(line)
        return time.perf_counter() - began

    assert min(seconds(1000) for _ in range(3)) < 10 * min(seconds(1) for _ in range(3))
