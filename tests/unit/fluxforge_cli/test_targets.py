import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from fluxforge.domain.errors import UsageError
from fluxforge.runtime.telemetry import serve
from fluxforge_cli.findings import State
from fluxforge_cli.targets import Target, ask_all
from tests.ports import kept_port


@contextlib.asynccontextmanager
async def service(host: str, port: int, ready: Callable[[], bool]) -> AsyncIterator[int]:
    server = await serve(host, port, CollectorRegistry(), ready, lambda: True)
    try:
        yield server.port
    finally:
        await server.close()


@pytest.fixture
async def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: `etl-worker` is the name of three processes, as Docker's and Kubernetes' DNS tell it."""

    async def addresses(_: object, host: str, port: int, **__: object) -> list[tuple[object, ...]]:
        assert host == "etl-worker"
        four = [(socket.AF_INET, None, None, "", (f"127.0.0.{n}", port)) for n in (3, 1, 2, 1)]
        return [*four, (socket.AF_INET6, None, None, "", ("::1", port, 0, 0))]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", addresses)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("segmenter:9100", Target("segmenter", 9100)),
        ("http://segmenter:9200", Target("segmenter", 9200)),
        ("http://segmenter:9200/", Target("segmenter", 9200)),
        ("segmenter", Target("segmenter", 9100)),
        ("[::1]:9101", Target("::1", 9101)),
    ],
)
def test_a_target_is_a_host_and_a_port(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize("text", ["", ":9100", "a:0", "a:65536", "a:b", "https://a:1", "a:1/readyz", "[::1"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        Target.parse(text)


async def test_a_service_is_ready_or_not() -> None:
    ready = [True]
    async with service("127.0.0.1", 0, lambda: ready[0]) as port:
        (one,) = await ask_all([Target("127.0.0.1", port)])
        assert (one.name, one.state, one.says, one.remedy) == (f"127.0.0.1:{port}", State.OK, "ready", "")
        ready[0] = False
        (one,) = await ask_all([Target("127.0.0.1", port)])
        assert (one.state, one.says, bool(one.remedy)) == (State.DEGRADED, "not ready", True)


async def test_who_is_not_there_is_critical() -> None:
    with kept_port() as port:
        (one,) = await ask_all([Target("127.0.0.1", port)])
    assert (one.state, one.says, bool(one.remedy)) == (State.CRITICAL, "Connection refused", True)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
async def test_a_name_that_nobody_knows_is_critical(host: str) -> None:
    (one,) = await ask_all([Target(host, 9100)])
    assert (one.state, "not known here" in one.says, bool(one.remedy)) == (State.CRITICAL, True, True)


@pytest.mark.usefixtures("scaled")
async def test_each_address_of_a_name_is_asked_once() -> None:
    async with (
        service("127.0.0.1", 0, lambda: True) as port,
        service("127.0.0.3", port, lambda: False),
    ):
        found = await ask_all([Target("etl-worker", port)])
    assert [(one.name, one.state) for one in found] == [
        (f"etl-worker:{port} at 127.0.0.1", State.OK),
        (f"etl-worker:{port} at 127.0.0.2", State.CRITICAL),
        (f"etl-worker:{port} at 127.0.0.3", State.DEGRADED),
    ]
