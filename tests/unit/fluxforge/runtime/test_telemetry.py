import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.telemetry import TelemetryServer, serve


class Health:
    ready = False
    live = True


@pytest.fixture
async def health() -> Health:
    return Health()


@pytest.fixture
async def server(health: Health) -> AsyncIterator[TelemetryServer]:
    registry = CollectorRegistry()
    Counter("fluxforge_tester_lines", "Lines.", registry=registry).inc(3)
    running = await serve("127.0.0.1", 0, registry, lambda: health.ready, lambda: health.live)
    yield running
    await running.close()


async def ask(port: int, request: bytes) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return head.splitlines()[0] if head else "", body


async def get(port: int, path: str) -> tuple[str, str]:
    return await ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_metrics_are_served_in_the_text_format(server: TelemetryServer) -> None:
    status, body = await get(server.port, "/metrics?x=1")
    assert status == "HTTP/1.1 200 OK"
    assert "fluxforge_tester_lines_total 3.0" in body


async def test_the_probes_say_what_the_service_says(server: TelemetryServer, health: Health) -> None:
    assert await get(server.port, "/readyz") == ("HTTP/1.1 503 Service Unavailable", "not yet\n")
    health.ready = True
    assert await get(server.port, "/readyz") == ("HTTP/1.1 200 OK", "ok\n")
    assert await get(server.port, "/livez") == ("HTTP/1.1 200 OK", "ok\n")
    health.live = False
    assert (await get(server.port, "/livez"))[0] == "HTTP/1.1 503 Service Unavailable"


async def test_nothing_else_is_served(server: TelemetryServer) -> None:
    assert (await get(server.port, "/"))[0] == "HTTP/1.1 404 Not Found"
    post = b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    assert (await ask(server.port, post))[0] == "HTTP/1.1 405 Method Not Allowed"


async def test_an_endless_request_is_hung_up_on(server: TelemetryServer) -> None:
    with contextlib.suppress(ConnectionResetError):  # where the rest was still under way to it
        assert await ask(server.port, b"GET / HTTP/1.1\r\n" + b"x" * 40_000) == ("", "")
    assert (await get(server.port, "/livez"))[0] == "HTTP/1.1 200 OK"


async def test_a_port_that_is_taken_is_refused_by_number(server: TelemetryServer) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{server.port}: .*address already in use"):
        await serve("127.0.0.1", server.port, CollectorRegistry(), lambda: True, lambda: True)
