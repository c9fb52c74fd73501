"""Whether the server syncs every write, as far as its monitoring tells."""

import asyncio
import urllib.request
from typing import Final
from urllib.error import URLError

import orjson

from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.adapters.jetstream.options import BusOptions
from fluxforge.domain.errors import BusNotDurableError

_ANSWER_S: Final = 3.0  # a busy server that answers later counts as unknown


async def check_durability(connection: Connection, options: BusOptions) -> None:
    """Refuse a server that is known not to sync always; one whose monitoring does not answer is not known.

    Raises:
        BusNotDurableError: It does not, and `unsafe_durability` is not set.
    """
    if not options.unsafe_durability and await syncs_always(connection, options) is False:
        raise BusNotDurableError(
            f"the bus at {connection.server} acknowledges before it syncs, so a power cut loses what it "
            "acknowledged: set `sync_interval: always` in its jetstream block, or nats.unsafe_durability: true here"
        )


async def syncs_always(connection: Connection, options: BusOptions) -> bool | None:
    """Return whether the connected server syncs every write; None where its monitoring does not tell."""
    url = connection.client.connected_url
    if url is None or url.hostname is None:
        return None
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return await asyncio.to_thread(_syncs_always, f"http://{host}:{options.monitor_port}", connection.server_id)


def _syncs_always(monitor_url: str, server_id: str) -> bool | None:
    """Return what the monitoring says of this very server, or None where it does not say."""
    try:
        with urllib.request.urlopen(f"{monitor_url}/jsz?config=true", timeout=_ANSWER_S) as answer:  # noqa: S310 - http
            status = orjson.loads(answer.read())
    except (URLError, OSError, orjson.JSONDecodeError):
        return None
    config = status.get("config")
    if status.get("server_id") != server_id or config is None:
        return None
    return bool(config.get("sync_always", False))
