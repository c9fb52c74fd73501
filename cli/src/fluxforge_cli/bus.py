"""The bus of a configuration, as the command reaches it."""

from dataclasses import replace
from urllib.parse import urlsplit

from fluxforge.adapters.embedded_nats import running_urls
from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.domain.errors import BusUnavailableError
from fluxforge.ports.bus import Bus
from fluxforge.runtime.settings import Settings


async def connected(settings: Settings, verb: str) -> Bus:
    """Return a connection of a verb to the servers that are configured, or to the embedded one where none are.

    Raises:
        BusUnavailableError: It does not answer, or no embedded server runs.
    """
    return await connect(bus_options(settings, verb), name=f"fluxforge-{verb}")


def bus_options(settings: Settings, verb: str) -> BusOptions:
    """Return how the servers are reached that are configured, or the embedded one where none are.

    Raises:
        BusUnavailableError: No embedded server runs, or nobody can tell.
    """
    if settings.nats.servers:
        return BusOptions.from_settings(settings.nats)
    try:
        urls = running_urls(settings.nats_dir)
    except OSError as error:
        raise BusUnavailableError(verb, f"the embedded server cannot be looked for: {error}") from error
    if urls is None:
        raise BusUnavailableError(verb, f"no embedded server runs on {settings.nats_dir}: is `fluxforge up` on?")
    clients, monitoring = urls
    options = BusOptions.from_settings(settings.nats.model_copy(update={"servers": (clients,)}))
    return replace(options, monitor_port=urlsplit(monitoring).port or options.monitor_port)
