"""The operator's listener."""

from prometheus_client.parser import text_string_to_metric_families

from tests.net.conftest import Start


async def test_health_and_readiness(start: Start) -> None:
    """Alive while the loop turns; ready while there is room."""
    running = await start(listen={"port": 0, "max_sessions": 1})
    admin = running.addresses["admin"]
    async with running.http.get(admin + "/healthz") as healthy, running.http.get(admin + "/readyz") as ready:
        assert (healthy.status, ready.status) == (200, 200)
    client = await running.conversation()
    async with running.http.get(admin + "/healthz") as healthy, running.http.get(admin + "/readyz") as full:
        assert (healthy.status, full.status) == (200, 503)
    await client.close()


async def test_metrics_are_current_while_a_session_lives(start: Start) -> None:
    """A scrape sees what live sessions counted so far, once, in a form Prometheus reads."""
    running = await start()
    client = await running.conversation()
    await client.send_str('{"realtimeInput":{"text":"a"}}')
    await client.ping()
    seen: dict[str, float] = {}
    for _ in range(100):
        families = list(text_string_to_metric_families(await running.metrics()))
        seen = {
            sample.name + "".join(sorted(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }
        if seen.get("relay_frames_totalacmeup"):
            break
    await client.close()

    assert seen["relay_frames_totalacmeup"] == 1
    assert seen["relay_frames_totalacmedown"] == 1
    assert seen["relay_sessions_activeacme"] == 1
    assert any(name.startswith("process_cpu_seconds_total") for name in seen)


async def test_there_is_nothing_else(start: Start) -> None:
    """Sessions can't be opened here, and no page allows reading from another origin."""
    running = await start()
    for path in ("/", "/v1/live", "/metrics/", "//metrics", "/demo/config.json"):
        async with running.http.get(running.addresses["admin"] + path) as response:
            assert response.status == 404
    async with running.http.get(running.addresses["admin"] + "/metrics", headers={"Origin": "https://x"}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
