"""The public listener: which handshakes become sessions, and what the others are told."""

import asyncio
import json

import aiohttp
import pytest
from yarl import URL

from tests.net.conftest import KEY, PATH, TENANT_KEY, WAIT_S, Origin, Start, end_of

SETUP = '{"setup":{}}'
GOOD_PATHS = [
    f"{slashes}ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent{suffix}"
    for slashes in ("/", "//", "///")
    for version in ("v1", "v1beta", "v1alpha")
    for suffix in ("", "Constrained")
] + ["/v1/live", "//v1//live"]
BAD_PATHS = [
    "/",
    "/ws",
    "/v1/live/",
    "/v1/livestock",
    PATH + "/",
    PATH + "X",
    PATH.replace("Content", "Music"),
    PATH.replace("v1beta", "v2"),
    PATH.replace("v1beta", "v1beta1"),
    PATH.replace("/ws/", "/ws/../ws/"),
    PATH.replace("/ws/", "/%77s/"),
    "/healthz",
    "/metrics",
    "/readyz",
]


@pytest.mark.parametrize("path", GOOD_PATHS)
async def test_googles_own_paths_lead_to_a_session(start: Start, path: str) -> None:
    """Every version, both methods, any run of slashes, and the short alias are endpoints."""
    running = await start()
    url = URL(running.addresses["listen"] + path, encoded=True)
    async with running.http.ws_connect(url, headers={"x-goog-api-key": TENANT_KEY}) as socket:
        await socket.send_str(SETUP)
        message = await socket.receive(timeout=WAIT_S)

    assert json.loads(message.data) == {"setupComplete": {}}


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_every_other_path_is_not_found(start: Start, origin: Origin, path: str) -> None:
    """Nothing matches by prefix, nothing is decoded, and the operator's pages are not here."""
    running = await start()
    url = URL(running.addresses["listen"] + path, encoded=True)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await running.http.ws_connect(url, headers={"x-goog-api-key": TENANT_KEY})

    assert refused.value.status == 404
    assert not origin.requests


async def test_a_path_prefix_moves_every_endpoint(start: Start) -> None:
    """With `path_prefix` the endpoints are below it and nowhere else."""
    running = await start(listen={"port": 0, "path_prefix": "/voice"})
    base = running.addresses["listen"]

    assert base.endswith("/voice")
    async with running.http.ws_connect(URL(base + "/" + PATH, encoded=True), headers={"x-goog-api-key": TENANT_KEY}):
        pass
    for other in (base.removesuffix("/voice") + PATH, base + "less" + PATH):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await running.http.ws_connect(other, headers={"x-goog-api-key": TENANT_KEY})
        assert refused.value.status == 404


@pytest.mark.parametrize(
    ("query", "headers", "protocols"),
    [
        ("", {"x-goog-api-key": TENANT_KEY}, ()),
        ("", {"Authorization": f"Bearer {TENANT_KEY}"}, ()),
        ("", {"Authorization": f"token {TENANT_KEY}", "X-Goog-Api-Key": TENANT_KEY}, ()),
        (f"?key={TENANT_KEY}", {}, ()),
        (f"?alt=json&access_token={TENANT_KEY.replace('-', '%2D')}", {}, ()),
        ("", {}, ("relay.v1", f"relay.key.{TENANT_KEY}")),
    ],
)
async def test_a_credential_is_taken_from_every_place_clients_put_it(
    start: Start, query: str, headers: dict[str, str], protocols: tuple[str, ...]
) -> None:
    """Headers, query and subprotocol all work; the subprotocol with the key is never echoed."""
    running = await start(tenant={"keys_in_url": True})
    url = URL(running.addresses["listen"] + PATH + query, encoded=True)
    async with running.http.ws_connect(url, headers=headers, protocols=protocols) as socket:
        assert socket.protocol == ("relay.v1" if protocols else None)
        await socket.send_str(SETUP)
        assert (await socket.receive(timeout=WAIT_S)).type is aiohttp.WSMsgType.BINARY


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("", {"x-goog-api-key": "wrong"}),
        ("", {"x-goog-api-key": TENANT_KEY + "x"}),
        ("", {"x-goog-api-key": TENANT_KEY[:-1]}),
        ("", {"Authorization": f"Basic {TENANT_KEY}"}),
        ("", {"Cookie": f"key={TENANT_KEY}"}),
        ("?key=other", {"x-goog-api-key": TENANT_KEY}),
        (f"?key={TENANT_KEY}&key=other", {}),
        (f"?key={TENANT_KEY}&access_token=other", {}),
        ("", {"Authorization": "Bearer other", "x-goog-api-key": TENANT_KEY}),
        ("", {"x-goog-api-key": "x" * 5000}),
    ],
)
async def test_no_wrong_or_ambiguous_credential_is_refused_before_the_upgrade(
    start: Start, origin: Origin, query: str, headers: dict[str, str]
) -> None:
    """401 with the same body for all of them; nothing reaches upstream."""
    running = await start()
    url = URL(running.addresses["listen"] + PATH + query, encoded=True)
    async with running.http.get(url, headers={**headers, "Upgrade": "websocket"}) as response:
        body = await response.json()

    assert response.status == 401
    assert body == {
        "error": {"code": 401, "message": "no valid credential, or more than one", "status": "UNAUTHENTICATED"}
    }
    assert not origin.requests
    assert 'relay_handshakes_refused_total{cause="credential",status="401"} 1.0' in await running.metrics()


@pytest.mark.threat("E1")
async def test_over_capacity_is_503_and_over_the_tenants_share_429(start: Start) -> None:
    """Both say when to come back, and a place is free again once a session has ended."""
    full = await start(listen={"port": 0, "max_sessions": 1})
    shared = await start(tenant={"quotas": {"concurrent_sessions": 1}})
    for running, status in ((full, 503), (shared, 429)):
        first = await running.conversation()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await running.connect()
        assert refused.value.status == status
        assert refused.value.headers is not None
        assert int(refused.value.headers["Retry-After"]) > 0
        await first.close()
        async with asyncio.timeout(WAIT_S):
            while len(running.relay.registry):
                await asyncio.sleep(0)
        await (await running.conversation()).close()


async def test_requests_that_are_no_handshakes_are_told_so(start: Start) -> None:
    """405 for other methods, 426 without an upgrade, 400 for a broken handshake; no input is echoed."""
    running = await start()
    url = running.addresses["listen"] + PATH
    credential = {"x-goog-api-key": TENANT_KEY}
    broken = {**credential, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "<script>"}
    broken["Sec-WebSocket-Version"] = "13"
    async with running.http.post(url, headers=credential) as posted, running.http.get(url, headers=credential) as got:
        assert posted.status == 405
        assert got.status == 426
    async with running.http.get(url, headers=broken) as refused:
        assert refused.status == 400
        assert "script" not in await refused.text()
        assert refused.headers["Server"] == "relay"


async def test_the_key_goes_upstream_in_a_header_and_nothing_of_the_clients_does(start: Start, origin: Origin) -> None:
    """Google's key is injected as `x-goog-api-key`; the URL, the client's key and its headers stay behind."""
    running = await start(tenant={"keys_in_url": True})
    client = await running.connect(PATH + f"?key={TENANT_KEY}", headers={"X-Client": "secret-header"})
    await client.send_str(SETUP)
    await client.receive(timeout=WAIT_S)
    await client.close()
    (request,) = origin.requests

    assert request.headers["x-goog-api-key"] == KEY
    assert request.path_qs == PATH
    assert TENANT_KEY not in str(request.headers)
    assert "X-Client" not in request.headers
    assert "Sec-WebSocket-Extensions" not in request.headers


@pytest.mark.threat("D4")
async def test_compression_is_never_negotiated_with_a_client(start: Start) -> None:
    """permessage-deflate costs 75 KiB a connection and is a bomb's door: an offer is ignored."""
    running = await start()
    socket = await running.connect(compress=15)

    assert socket.compress == 0
    await socket.close()


async def test_messages_pass_in_order_with_their_bytes_and_opcodes(start: Start, origin: Origin) -> None:
    """Down: bytes and opcode as Google sent them. Up: canonical text, whatever the client's opcode and spelling."""
    sent = [
        (b'{\n  "serverContent": {"outputTranscription": {"text": "\\u00e9"}}\n}\n', False),
        (b'{"voiceActivity":{"voiceActivityType":"ACTIVITY_START"}}', True),
        (b'{"toolCall": {"functionCalls": [{"id": "c1", "name": "f"}]}}', False),
        (b'{"toolCallCancellation": {"ids": ["c1"]}}', False),
        (b'{"usageMetadata": {"totalTokenCount": 1}}', False),
        (b'{"voiceActivityDetectionSignal":{}}', False),
    ]

    async def script(socket: aiohttp.web.WebSocketResponse) -> None:
        origin.received.append(await socket.receive())
        await socket.send_bytes(b'{"setupComplete": {}}')
        for payload, text in sent:
            await (socket.send_str(payload.decode()) if text else socket.send_bytes(payload))
        origin.received.append(await socket.receive())
        origin.received.append(await socket.receive())
        await socket.close(code=1011, message=b"You exceeded your current quota")

    origin.script = script
    running = await start()
    socket = await running.conversation({"generation_config": {"response_modalities": ["audio"]}})
    received = [await socket.receive(timeout=WAIT_S) for _ in sent]
    await socket.send_bytes(b' {"realtime_input": {"text": "a"}} ')
    await socket.send_str('{"client_content":{"turns":[{"parts":[{"text":"b"}]}],"turn_complete":true}}')
    code, _ = await end_of(socket)

    assert [(message.data, message.type is aiohttp.WSMsgType.TEXT) for message in received] == [
        (payload.decode() if text else payload, text) for payload, text in sent
    ]
    assert [message.data for message in origin.received] == [
        '{"setup":{"model":"models/gemini-3.8-live","generationConfig":{"responseModalities":["AUDIO"]},'
        '"sessionResumption":{}}}',
        '{"realtimeInput":{"text":"a"}}',
        '{"clientContent":{"turns":[{"parts":[{"text":"b"}]}],"turnComplete":true}}',
    ]
    assert code == 1013


async def test_text_frames_are_an_option_of_the_policy(start: Start, origin: Origin) -> None:
    """`server_frames: text` turns Google's binary frames into text, bytes unchanged."""
    running = await start(policy={"model": "models/m", "server_frames": "text"})
    socket = await running.connect()
    await socket.send_str(SETUP)
    message = await socket.receive(timeout=WAIT_S)

    assert message.type is aiohttp.WSMsgType.TEXT
    assert message.data == '{\n  "setupComplete": {}\n}\n'
    await socket.close()


@pytest.mark.threat("C3", "C6")
@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        (b"\x00\x01garbage", 1007, "not valid JSON"),
        ("[]", 1007, "exactly one of setup"),
        ('{"realtimeInput":{"text":"early"}}', 1008, "setup must be the first message"),
        ('{"setup":{"nope":1}}', 1007, "setup.nope is not a field"),
        ('{"setup":{"tools":[{"googleSearch":{}}]}}', 1008, "setup.tools may not be set"),
        ('{"setup":{"model":"models/other"}}', 1008, "setup.model is not a model"),
        ('{"setup":{"sessionResumption":{"handle":"stolen"}}}', 1008, "handle was not given out"),
        ("x" * 300_000, 1009, ""),
    ],
)
async def test_a_bad_first_message_is_closed_with_words(
    start: Start, origin: Origin, payload: bytes | str, code: int, words: str
) -> None:
    """The close names field and rule, nothing is dialled, one counter moves."""
    running = await start(policy={"model": "models/gemini-3.8-live"})
    socket = await running.connect()
    await (socket.send_bytes(payload) if isinstance(payload, bytes) else socket.send_str(payload))
    got, reason = await end_of(socket)

    assert got == code or (code == 1009 and got == 1006)  # unread bytes may turn a close into a reset
    assert words in reason
    assert not origin.requests
    assert 'blame="downstream"' in await running.metrics()


@pytest.mark.threat("C3")
async def test_a_second_setup_ends_the_session_and_never_reaches_google(start: Start, origin: Origin) -> None:
    """One setup per session; Google sees exactly one."""

    async def script(socket: aiohttp.web.WebSocketResponse) -> None:
        async for message in socket:
            origin.received.append(message.data)
            await socket.send_bytes(b'{"setupComplete": {}}')

    origin.script = script
    running = await start()
    socket = await running.conversation()
    await socket.send_str(SETUP)

    assert await end_of(socket) == (1008, "message out of order: setup may be sent only once, as the first message")
    assert len(origin.received) == 1


async def test_early_messages_wait_for_setup_complete_and_keep_their_order(start: Start, origin: Origin) -> None:
    """Some clients send a turn before setupComplete: it is held, then sent, after the client got its answer."""
    go = asyncio.Event()

    async def script(socket: aiohttp.web.WebSocketResponse) -> None:
        await socket.receive()
        await go.wait()
        await socket.send_bytes(b'{"setupComplete": {}}')
        for _ in range(5):
            origin.received.append((await socket.receive()).data)
        await socket.close(code=1011, message=b"You exceeded your current quota")

    origin.script = script
    running = await start()
    socket = await running.connect()
    await socket.send_str(SETUP)
    for number in range(5):
        await socket.send_str(json.dumps({"realtimeInput": {"text": str(number)}}))
    go.set()
    assert json.loads((await socket.receive(timeout=WAIT_S)).data) == {"setupComplete": {}}
    await end_of(socket)

    assert origin.received == [f'{{"realtimeInput":{{"text":"{number}"}}}}' for number in range(5)]


async def test_a_handshake_that_drips_is_cut(start: Start) -> None:
    """A client that sends a byte of its headers now and then does not keep its socket: the limit is on the whole."""
    running = await start(listen={"handshake_timeout": "300ms"})
    host, port = running.addresses["listen"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/live HTTP/1.1\r\nX-Slow: ")

    async def drip() -> None:
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.05)

    dripping = asyncio.ensure_future(drip())
    try:
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""
    finally:
        dripping.cancel()
        writer.close()
