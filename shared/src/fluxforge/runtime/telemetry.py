"""Telemetry: the small HTTP server of a service: /metrics, /livez and /readyz, on the service's own event loop.

A process whose loop hangs therefore does not answer, which is what a probe must see. Nothing else is served.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from fluxforge.domain.errors import ConfigurationError

_REQUEST_TIMEOUT_S: Final = 5.0
_HEAD_BYTES_MAX: Final = 16_384
_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT


class TelemetryServer:
    """A running server; made by `serve`."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening; answers under way are finished or given up within the request timeout."""
        self._server.close()
        await self._server.wait_closed()


async def serve(
    host: str, port: int, registry: CollectorRegistry, ready: Callable[[], bool], live: Callable[[], bool]
) -> TelemetryServer:
    """Listen on host:port; port 0 takes any free one.

    Raises:
        ConfigurationError: The address cannot be listened on, mostly because somebody else does.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(_route(head, registry, ready, live)))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return  # the client went away or speaks no HTTP: nothing of ours is lost
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, host, port, limit=_HEAD_BYTES_MAX)
    except OSError as error:
        raise ConfigurationError(
            f"telemetry: cannot listen on {host}:{port}: {error.strerror or error}; "
            "set telemetry.port to a free port, or to 0 for any"
        ) from error
    return TelemetryServer(server)


def _route(head: bytes, registry: CollectorRegistry, ready: Callable[[], bool], live: Callable[[], bool]) -> _Answer:
    request, _, headers = head.decode("latin-1").partition("\r\n")
    method, _, rest = request.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if method != "GET":
        return _Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET only\n")
    if path == "/metrics":
        encoder, content_type = choose_encoder(_header(headers, "accept"))
        return _Answer(HTTPStatus.OK, encoder(registry), content_type)
    probe = {"/livez": live, "/readyz": ready}.get(path)
    if probe is None:
        return _Answer(HTTPStatus.NOT_FOUND, b"/metrics, /livez or /readyz\n")
    return _Answer(HTTPStatus.OK, b"ok\n") if probe() else _Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"not yet\n")


def _header(headers: str, name: str) -> str:
    for line in headers.split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""


def _response(answer: _Answer) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + answer.body
