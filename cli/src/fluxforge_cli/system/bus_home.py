"""The bus of a system on one machine: an embedded server, or the configured ones."""

import asyncio
from collections.abc import Callable
from typing import Final

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.runtime.settings import NatsSettings, Settings

_LOOK_EVERY_S: Final = 1.0


class BusHome:
    """Runs the embedded server where the configuration names none."""

    def __init__(self, settings: Settings) -> None:
        self._nats = settings.nats
        self._embedded = (
            None if settings.nats.servers else EmbeddedNats(settings.nats_dir, max_payload=settings.nats.max_payload)
        )

    async def start(self) -> NatsSettings:
        """Return the bus settings with the addresses of a bus that answers.

        Raises:
            UsageError: The data directory of the embedded server is in use.
        """
        if self._embedded is None:
            return self._nats
        url = await self._embedded.start()
        return self._nats.model_copy(update={"servers": (url,)})

    async def tend(self, say: Callable[[str], None]) -> None:
        """Bring the embedded server back when it dies; returns never."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if self._embedded is not None and not self._embedded.alive:
                say("the embedded nats-server has died; starting it again")
                await self._embedded.start()

    async def stop(self) -> None:
        """Stop the embedded server."""
        if self._embedded is not None:
            await self._embedded.stop()
