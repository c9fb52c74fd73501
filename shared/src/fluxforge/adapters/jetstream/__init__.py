"""The bus on NATS JetStream; the only package that knows nats-py.

Of nats-py it uses the connection alone: its JetStream layer loses refused and late acks, and watches and fetches that
are under way over a restart of the server hang. What JetStream adds is spoken here, over plain requests.
"""

from fluxforge.adapters.jetstream.bus import JetStreamBus, connect
from fluxforge.adapters.jetstream.options import BusOptions

__all__ = ["BusOptions", "JetStreamBus", "connect"]
