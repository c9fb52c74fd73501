"""Events: what is stored for the workers of SEGMENTS, PARTS and DEAD, and what is said to whoever listens."""

from typing_extensions import override

from fluxforge.adapters.jetstream.api import Api
from fluxforge.domain.block import MSG_ID
from fluxforge.ports.bus import Events


class JetStreamEvents(Events):
    """Publishes events, stored once per id, and announcements, stored nowhere."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @override
    async def publish(self, subject: str, payload: bytes, *, message_id: str) -> None:
        await self._api.store(subject, payload, {MSG_ID: message_id})

    @override
    async def announce(self, subject: str, payload: bytes) -> None:
        await self._api.connection.announce(subject, payload)
