"""The bus of a configuration, as the command reaches it."""

from fluxforge.adapters.embedded_nats import running_url
from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.domain.errors import BusUnavailableError
from fluxforge.ports.bus import Bus
from fluxforge.runtime.settings import Settings


async def connected(settings: Settings, verb: str) -> Bus:
    """Return a connection of a verb to the servers that are configured, or to the embedded one where none are.

    Raises:
        BusUnavailableError: It does not answer, or no embedded server runs.
    """
    nats = settings.nats
    if not nats.servers:
        url = running_url(settings.nats_dir)
        if url is None:
            raise BusUnavailableError(verb, f"no embedded server runs on {settings.nats_dir}: is `fluxforge up` on?")
        nats = nats.model_copy(update={"servers": (url,)})
    return await connect(BusOptions.from_settings(nats), name=f"fluxforge-{verb}")
