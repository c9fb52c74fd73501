"""Targets: services that are asked by address whether they are ready, each address of a name by itself."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from typing_extensions import override

from fluxforge.domain.errors import UsageError
from fluxforge.runtime.probe import NoAnswerError, ask
from fluxforge_cli.findings import Finding, State

_PORT: Final = 9100
_PATH: Final = "/readyz"
_OK: Final = 200
_UNAVAILABLE: Final = 503
_NOT_READY: Final = (
    "a standby is not, while another holds its lane; else its log says what it waits for, and /metrics whether that is "
    "the bus (fluxforge_bus_connected)"
)
_UNREACHED: Final = "see whether it runs, listens on 0.0.0.0 (telemetry.host) and may be reached from here"
_UNKNOWN: Final = "see whether it was started, and whether this machine is in the same network as the services"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service, or several of one name, answer."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the target of `HOST`, `HOST:PORT` or `http://HOST:PORT`.

        Raises:
            UsageError: It is none.
        """
        refusal = UsageError(f"--target {text}: expected HOST:PORT, such as segmenter:{_PORT}")
        try:
            parts = urlsplit(text if "://" in text else f"//{text}", scheme="http")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise refusal from error
        is_whole = parts.scheme == "http" and parts.path in ("", "/") and not (parts.query or parts.fragment)
        if not host or not is_whole or port == 0:
            raise refusal
        return cls(host, port or _PORT)

    @override
    def __str__(self) -> str:
        """Return it as it can be given again."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


async def ask_all(targets: Sequence[Target]) -> list[Finding]:
    """Ask every address of every target at once; return what they say, in the targets' order."""
    found = await asyncio.gather(*(_ask_target(target) for target in targets))
    return [one for several in found for one in several]


async def _ask_target(target: Target) -> list[Finding]:
    try:
        addresses = await _addresses(target)
    except (OSError, UnicodeError) as error:  # a name that cannot be one is refused as Unicode
        says = f"its name is not known here: {getattr(error, 'strerror', None) or error}"
        return [Finding(str(target), State.CRITICAL, says, _UNKNOWN)]
    asked = (asyncio.to_thread(_ask, target, address) for address in addresses)
    return list(await asyncio.gather(*asked))


async def _addresses(target: Target) -> list[str]:
    """Return the addresses of a name, IPv6 only where it has no other: of two families each process has one of both."""
    infos = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    by_family: dict[int, set[str]] = {}
    for family, _, _, _, address in infos:
        by_family.setdefault(family, set()).add(str(address[0]))
    return sorted(by_family.get(socket.AF_INET) or by_family.get(socket.AF_INET6) or ())


def _ask(target: Target, address: str) -> Finding:
    name = str(target) if address == target.host else f"{target} at {address}"
    try:
        status, body = ask(address, target.port, _PATH)
    except NoAnswerError as error:
        return Finding(name, State.CRITICAL, str(error), _UNREACHED)
    if status == _OK:
        return Finding(name, State.OK, "ready")
    if status == _UNAVAILABLE:
        return Finding(name, State.DEGRADED, "not ready", _NOT_READY)
    return Finding(name, State.CRITICAL, f"answers {_PATH} with {status} {body:.80}", "name a FluxForge service")
