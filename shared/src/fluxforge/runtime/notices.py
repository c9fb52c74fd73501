"""Notices: what a configuration gives up, said at every start, so that nobody who reads the log is surprised later."""

import structlog

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
