"""Notices every service gives: what its configuration gives up, and whether its bus is there."""

import structlog
from prometheus_client import CollectorRegistry, Gauge

from fluxforge.runtime.settings import NatsSettings


def give_notice(nats: NatsSettings) -> None:
    """Warn where the configuration accepts a bus that may lose what it acknowledged."""
    if nats.unsafe_durability:
        structlog.get_logger().warning(
            "durability.unsafe",
            setting="nats.unsafe_durability: true",
            effect="a bus that does not sync every write is accepted; a power cut may lose what it acknowledged",
            remedy="run the server with `sync_interval: always` and leave the setting out",
        )


class BusNotices:
    """Says when the bus goes and comes back; the metric is 1 while it is there."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._log = structlog.get_logger()
        self._connected = Gauge("fluxforge_bus_connected", "Whether the bus connection stands.", registry=registry)
        self._was_connected: bool | None = None

    def changed(self, *, connected: bool) -> None:
        """The connection came, went, or is as it was."""
        self._connected.set(connected)
        if self._was_connected and not connected:
            self._log.warning("bus.disconnected")
        elif connected and self._was_connected is False:
            self._log.info("bus.reconnected")
        self._was_connected = connected
