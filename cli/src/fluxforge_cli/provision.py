"""`fluxforge provision`: what the services need on the bus."""

import asyncio

import typer

from fluxforge_cli.options import ConfigOption, choose


def provision(config: ConfigOption = None) -> None:
    """Create or update the buckets, streams and the consumer on the configured bus. Repeating it changes nothing."""
    from fluxforge.adapters.jetstream import BusOptions  # noqa: PLC0415 - heavy
    from fluxforge.adapters.jetstream.provision import provision as provision_bus  # noqa: PLC0415 - heavy

    nats = choose(config).settings.nats
    asyncio.run(provision_bus(BusOptions.from_settings(nats)))
    typer.echo(f"provisioned: {', '.join(nats.servers)}")
