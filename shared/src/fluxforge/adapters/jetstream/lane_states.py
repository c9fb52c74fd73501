"""The lane states: one key per lane in the bucket `lanes`, written by compare-and-set."""

from collections.abc import Sequence

from typing_extensions import override

from fluxforge.adapters.jetstream.api import Api
from fluxforge.adapters.jetstream.key_value import Bucket
from fluxforge.domain.errors import StateConflictError
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.ports.lanes import LaneStates, VersionedState

BUCKET = "lanes"


class JetStreamLaneStates(LaneStates):
    """The bucket `lanes`; a key is the lane's name."""

    def __init__(self, api: Api) -> None:
        self._bucket = Bucket(api, BUCKET)

    @override
    async def lanes(self) -> Sequence[Lane]:
        return sorted(Lane.parse(key) for key in await self._bucket.keys())

    @override
    async def get(self, lane: Lane) -> VersionedState | None:
        found = await self._bucket.get(str(lane))
        if found is None or found.value is None:
            return None
        return VersionedState(LaneState.from_json(found.value), found.revision)

    @override
    async def create(self, lane: Lane) -> None:
        await self._bucket.put(str(lane), LaneState().to_json(), revision=0)

    @override
    async def update(self, lane: Lane, state: LaneState, revision: int) -> int:
        written = await self._bucket.put(str(lane), state.to_json(), revision=revision)
        if written is None:
            raise StateConflictError(str(lane), revision)
        return written

    @override
    async def delete(self, lane: Lane, *, revision: int) -> None:
        if not await self._bucket.remove(str(lane), revision=revision):
            raise StateConflictError(str(lane), revision)
