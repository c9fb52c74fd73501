"""Provisioning: the buckets, the three event streams and the durable consumer, created and brought up to date.

Repeating it changes nothing. Lane streams are not its business: their segmenter creates them.
"""

from typing import Any, Final

from fluxforge.adapters.jetstream import lane_states, leases, work_queue
from fluxforge.adapters.jetstream.api import NS_PER_S, Api, ApiError, ErrCode
from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.adapters.jetstream.key_value import bucket_config
from fluxforge.adapters.jetstream.options import BusOptions
from fluxforge.domain.errors import ConfigurationError

_DAY_S: Final = 86_400
_ACK_WAIT_S: Final = 30
_EVENT_BYTES_MAX: Final = 256 * 10**6
_BUCKET_BYTES_MAX: Final = 64 * 10**6
_DEDUPE_S: Final = 120
_EVENT_STREAMS: Final = {  # name -> subjects, age in days
    work_queue.STREAM: ("segments.sealed.>", 7),
    "PARTS": ("parts.committed.>", 7),
    "DEAD": ("dead.>", 30),
}


async def provision(options: BusOptions) -> None:
    """Create or update what every service needs on the bus.

    Raises:
        BusUnavailableError: The bus did not answer; repeat it.
    """
    connection = await Connection.open(options, "fluxforge-provision")
    try:
        api = Api(connection)
        for config in streams_of(options):
            await _put_stream(api, config)
        consumer = {"stream_name": work_queue.STREAM, "config": consumer_of(options)}
        await api.call(f"CONSUMER.CREATE.{work_queue.STREAM}.{work_queue.CONSUMER}", consumer)
    finally:
        await connection.close()


async def verify(api: Api) -> None:
    """Raise ConfigurationError naming what `provision` has not created yet."""
    names = [str(config["name"]) for config in streams_of(BusOptions(servers=()))]
    missing = [name for name in names if await api.stream_info(name) is None]
    if missing:
        raise ConfigurationError(f"the bus lacks {', '.join(missing)}: run `fluxforge provision`")


def streams_of(options: BusOptions) -> list[dict[str, Any]]:
    """Return how the streams and buckets must be configured that every service needs."""
    replicas = options.stream_replicas
    return [
        bucket_config(lane_states.BUCKET, replicas=replicas, size_bytes_max=_BUCKET_BYTES_MAX),
        bucket_config(leases.BUCKET, replicas=replicas, size_bytes_max=_BUCKET_BYTES_MAX, ttl_s=options.lease_ttl_s),
        *(_event_stream(name, subject, days * _DAY_S, replicas) for name, (subject, days) in _EVENT_STREAMS.items()),
    ]


def _event_stream(name: str, subject: str, age_s_max: int, replicas: int) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": [subject],
        "retention": "limits",
        "storage": "file",
        "discard": "old",  # events are hints: what is missing is published again from storage
        "max_bytes": _EVENT_BYTES_MAX,
        "max_msgs": -1,
        "max_msg_size": -1,
        "max_consumers": -1,
        "max_age": age_s_max * NS_PER_S,
        "num_replicas": replicas,
        "duplicate_window": _DEDUPE_S * NS_PER_S,
        "allow_direct": False,
    }


def consumer_of(options: BusOptions) -> dict[str, Any]:
    """Return how the consumer of ETL workers must be configured."""
    return {
        "name": work_queue.CONSUMER,
        "durable_name": work_queue.CONSUMER,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": _ACK_WAIT_S * NS_PER_S,
        "max_deliver": -1,
        "max_ack_pending": 1000,
        "replay_policy": "instant",
        "num_replicas": options.stream_replicas,
    }


async def _put_stream(api: Api, config: dict[str, Any]) -> None:
    try:
        await api.call(f"STREAM.CREATE.{config['name']}", config)
    except ApiError as error:
        if error.err_code != ErrCode.STREAM_NAME_IN_USE:
            raise
        await api.call(f"STREAM.UPDATE.{config['name']}", config)
