"""Webhooks: what is signed, what counts as taken, and that a repeated request is recognisable as one."""

import base64
import time
from collections.abc import AsyncIterator

import orjson
import pytest

from relay.net.spool import Item
from relay.net.usage_file import RefusedError, SinkError
from relay.net.webhook import Webhook, key_of, signature
from tests.net.receiver import SECRET, Receiver, documented_check, receiver


def items(*ids: str) -> list[Item]:
    """Records with these ids."""
    return [Item(name, name, orjson.dumps({"id": name})) for name in ids]


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    """A receiver."""
    async with receiver() as made:
        yield made


@pytest.fixture
async def webhook(there: Receiver) -> AsyncIterator[Webhook]:
    """A webhook that sends to it."""
    made = Webhook(there.url, key_of(SECRET), 5.0, time.time)
    await made.start()
    yield made
    await made.stop()


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks specification, to the letter."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_may_be_text_or_base64() -> None:
    """Base64 after whsec_, as other senders write it; what is none is refused."""
    assert key_of("plain words") == b"plain words"
    assert key_of("whsec_" + base64.b64encode(b"\x00\xff").decode()) == b"\x00\xff"
    with pytest.raises(ValueError, match="base64"):
        key_of("whsec_???")


async def test_a_receiver_can_check_who_sent_it(webhook: Webhook, there: Receiver) -> None:
    """With the code from the documentation; another secret, body, id or time does not pass."""
    await webhook.deliver(items("a", "b"))
    ((headers, body),) = there.requests
    check = documented_check()
    now = float(headers["webhook-timestamp"])
    assert there.forged == 0
    assert [record["id"] for record in there.records] == ["a", "b"]
    assert check(headers, body, SECRET, now)
    assert not check(headers, body, "another secret", now)
    assert not check(headers, body + b" ", SECRET, now)
    assert not check({**headers, "webhook-id": "msg_1"}, body, SECRET, now)
    assert not check({**headers, "webhook-timestamp": str(int(now) + 1)}, body, SECRET, now)
    assert not check(headers, body, SECRET, now + 301), "an old request that is sent again"
    assert not check({}, body, SECRET, now)


@pytest.mark.parametrize("status", [300, 302, 400, 401, 404, 410, 429, 500, 503])
async def test_anything_but_success_is_a_failure(webhook: Webhook, there: Receiver, status: int) -> None:
    """Redirects are not followed: they would take the records somewhere that nobody configured."""
    there.status = status
    with pytest.raises(SinkError, match=str(status)):
        await webhook.deliver(items("a"))
    assert len(there.requests) == 1


@pytest.mark.parametrize(
    ("status", "of_the_records"),
    [(302, False), (400, True), (403, True), (422, True), (500, True), (429, False), (503, False)],
)
async def test_an_answer_about_the_records_is_told_from_one_about_the_receiver(
    webhook: Webhook, there: Receiver, status: int, of_the_records: bool
) -> None:
    """A receiver that is away, busy or moved says nothing about what it was sent."""
    there.status = status
    with pytest.raises(SinkError) as raised:
        await webhook.deliver(items("a"))
    assert isinstance(raised.value, RefusedError) is of_the_records


async def test_a_repeated_request_has_the_same_id_and_body(webhook: Webhook, there: Receiver) -> None:
    """So that whoever has it already may drop it; different records, and later ones, have another id."""
    there.status = 500
    for names in (("a",), ("a",), ("a", "b")):
        with pytest.raises(SinkError):
            await webhook.deliver(items(*names))
    there.status = 204
    await webhook.deliver(items("a", "b"))
    await webhook.deliver(items("a", "b"))
    ids = [headers["webhook-id"] for headers, _ in there.requests]
    bodies = [body for _, body in there.requests]
    assert ids[0] == ids[1] != ids[2] == ids[3] != ids[4]
    assert bodies[0] == bodies[1] != bodies[2] == bodies[3]
    assert there.forged == 0


async def test_nobody_there_and_nobody_who_answers(there: Receiver) -> None:
    """Failures without the address in their words, which may have a secret in its path."""
    port = int(there.url.split(":")[2].split("/")[0])
    for url in ("http://127.0.0.1:1/s3cret", "http://nobody.invalid/s3cret", f"https://127.0.0.1:{port}/s3cret"):
        webhook = Webhook(url, key_of(SECRET), 2.0, time.time)
        await webhook.start()
        with pytest.raises(SinkError) as raised:
            await webhook.deliver(items("a"))
        assert "s3cret" not in str(raised.value)
        await webhook.stop()
