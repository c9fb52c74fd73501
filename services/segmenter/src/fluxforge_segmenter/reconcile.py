"""Reconciling: sealed segments whose event nobody will ever receive are announced again.

Events are hints; storage is the truth. As long as work is waiting somewhere, what has no commit may be waiting too.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

from fluxforge.ports.bus import Backlog
from fluxforge_segmenter.seal import LaneTools, announce


def missing(visible: Sequence[str], settled: Collection[str], backlog: Backlog) -> list[str]:
    """Return the names, in order, that stand in storage, are neither committed nor dead, and wait nowhere."""
    if backlog.num_pending or backlog.num_ack_pending:
        return []
    return [name for name in visible if name not in settled]


async def publish_missing(tools: LaneTools, backlog: Callable[[], Awaitable[Backlog]]) -> None:
    """Publish again the events that are missing."""
    # Storage before the backlog: what is announced in between waits, and is then left alone.
    visible = await tools.patience.disk(tools.shelf.names)
    settled = await tools.patience.disk(tools.shelf.settled)
    for name in missing(visible, settled, await tools.patience.bus(backlog)):
        manifest = await tools.patience.disk(partial(tools.shelf.manifest, name))
        if manifest is not None:
            await announce(tools, manifest)
            tools.events.event_published_again(tools.lane, name)
