"""The leases: keys that expire in the bucket `leases`. Hints that keep standbys quiet, never a fence."""

from typing_extensions import override

from fluxforge.adapters.jetstream.api import Api
from fluxforge.adapters.jetstream.key_value import Bucket
from fluxforge.domain.errors import StateConflictError
from fluxforge.ports.lanes import Leases

BUCKET = "leases"


class JetStreamLeases(Leases):
    """The bucket `leases`; the value is the holder, whose revision grows across holders."""

    def __init__(self, api: Api) -> None:
        self._bucket = Bucket(api, BUCKET)

    @override
    async def acquire(self, key: str, holder: str) -> int | None:
        found = await self._bucket.get(key)
        if found is not None and found.value is not None:
            return found.revision if found.value == holder.encode() else None
        return await self._bucket.put(key, holder.encode(), revision=found.revision if found else 0)

    @override
    async def renew(self, key: str, holder: str, revision: int) -> int:
        renewed = await self._bucket.put(key, holder.encode(), revision=revision)
        if renewed is None:
            raise StateConflictError(key, revision)
        return renewed

    @override
    async def release(self, key: str, revision: int) -> None:
        await self._bucket.delete(key, revision=revision)
