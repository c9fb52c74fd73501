"""The reload: at SIGHUP the configuration is read again, and what is captured follows it without a new start.

Which markets of which channels are captured can change; whatever else the collector reads at its start stays as it
was, and is named. A configuration that cannot be read or had changes nothing.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from fluxforge.domain.errors import FluxForgeError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.settings.lanes import check_configured
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.source import Source

_READ_AT_START: Final = ("nats", "ingestion", "telemetry", "log_level", "storage.scratch_dir")
_CHANNELS: Final = "channels"


class Reload:
    """Brings a source in line with the configuration whenever it is asked to; `read` reads it anew."""

    def __init__(
        self, lane: Lane, tree: Settings, *, read: Callable[[], Settings], source: Source, events: CollectorEvents
    ) -> None:
        self._lane = lane
        self._tree = tree
        self._read = read
        self._source = source
        self._events = events

    async def run(self, asked: asyncio.Event) -> None:
        """Reload as often as it is asked for, until cancelled."""
        while True:
            await asked.wait()
            asked.clear()
            try:
                tree = await asyncio.to_thread(self._read)
                check_configured(tree, self._lane)
                await self._source.reload(tree)
            except FluxForgeError as error:
                self._events.configuration_refused(error)
                continue
            fixed = changed_keys(self._tree, tree, self._lane)
            if fixed:
                self._events.restart_needed(fixed)
            self._events.configuration_reloaded()


def changed_keys(before: Settings, after: Settings, lane: Lane) -> list[str]:
    """Return the keys that a lane's collector reads at its start alone and that differ."""
    roots = [*_READ_AT_START, f"{lane.source}.exchanges.{lane.exchange}"]
    old, new = dict(_leaves(before.model_dump())), dict(_leaves(after.model_dump()))
    differ = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    channels = f"{roots[-1]}.{_CHANNELS}"
    return [key for key in differ if any(_is_below(key, root) for root in roots) and not _is_below(key, channels)]


@contextmanager
def asked_by_signal() -> Iterator[asyncio.Event]:
    """Yield what is set whenever SIGHUP comes. Without it the signal would end the process."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _is_below(key: str, root: str) -> bool:
    return key == root or key.startswith(f"{root}.")
