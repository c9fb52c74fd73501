import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from fluxforge.runtime import probe
from fluxforge.runtime.telemetry import serve
from tests.ports import kept_port

HEAVY = ("prometheus_client", "pydantic", "structlog", "orjson", "asyncio", "http.client", "ssl")


class Health:
    ready = False


@pytest.fixture
async def health() -> Health:
    return Health()


@pytest.fixture
async def port(health: Health) -> AsyncIterator[int]:
    server = await serve("127.0.0.1", 0, CollectorRegistry(), lambda: health.ready, lambda: True)
    yield server.port
    await server.close()


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(probe.main, arguments)


async def test_the_exit_code_is_what_the_service_says(port: int, health: Health) -> None:
    assert await run("--port", str(port)) == 1
    assert await run("--port", str(port), "/livez") == 0
    health.ready = True
    assert await run("--port", str(port)) == 0
    assert await run("--port", str(port), "/nothing") == 1


async def test_nobody_listening_is_1_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with kept_port() as port:
        assert await run("--port", str(port)) == 1
    assert "refused" in capsys.readouterr().err


async def test_who_never_answers_is_given_up() -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(probe.NoAnswerError, match=r"no answer within 0\.05 s"):
        await asyncio.to_thread(probe.ask, "127.0.0.1", port, "/readyz", timeout_s=0.05)
    server.close()


async def test_what_speaks_no_http_is_no_answer() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO {}\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(probe.NoAnswerError):
        await asyncio.to_thread(probe.ask, "127.0.0.1", port, "/readyz")
    server.close()


def test_a_healthcheck_costs_no_import_that_it_can_do_without() -> None:
    code = f"import sys, fluxforge.runtime.probe; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("port", ["0", "65536", "x"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(SystemExit) as refused:
        probe.main(["--port", port])
    assert refused.value.code == 2
