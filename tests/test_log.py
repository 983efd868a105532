"""Logs: one line per event, and no secret in any of them."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from relay import log

SECRET = "AKanaryKey-0123456789-abcdef"


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
    scrubbed = log.Scrubber([SECRET]).scrub(text)

    assert log.MASK in scrubbed
    assert SECRET[:12] not in scrubbed
    assert "AIzaSy" not in scrubbed
    assert "abcdef0123456789" not in scrubbed
    assert "abc.def" not in scrubbed


def test_short_words_are_no_secrets() -> None:
    """A key of a few letters would mask half of every line."""
    assert log.Scrubber(["sim"]).scrub("the simulator") == "the simulator"


def test_learned_secrets_are_masked_and_forgotten_in_turn() -> None:
    """Access tokens follow one another for as long as the process lives; those given at its start stay."""
    scrubber = log.Scrubber([SECRET])
    tokens = [f"{number:02}-good-for-an-hour" for number in range(100)]
    for token in tokens:
        scrubber.learn(token)
        scrubber.learn(token)
    shown = scrubber.scrub(" ".join([SECRET, *tokens]))

    assert shown.split()[0] == log.MASK
    assert tokens[-1] not in shown
    assert tokens[-2] not in shown
    assert tokens[0] in shown


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Put the process's logging back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored_logging")
def test_every_way_into_the_log_is_scrubbed_json(capsys: pytest.CaptureFixture[str]) -> None:
    """structlog events, standard library lines and tracebacks alike; control characters stay inside their line."""
    log.configure("debug", "json", log.Scrubber([SECRET]))
    structlog.get_logger().info("event", reason=f"{SECRET}\r\n\x1b[31m{{}}", nested={"a": [SECRET]})
    logging.getLogger("aiohttp.server").error("Error handling request %s", SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        structlog.get_logger().error("crashed", exc_info=error)
        logging.getLogger("asyncio").exception("unhandled")
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 4
    assert all(json.loads(line) for line in lines)
    assert SECRET not in "".join(lines)
    assert "\x1b" not in "".join(lines)


@pytest.mark.usefixtures("restored_logging")
def test_the_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """Less severe events are not written."""
    log.configure("warning", "json", log.Scrubber([]))
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")

    assert "quiet" not in (out := capsys.readouterr().out)
    assert "loud" in out
