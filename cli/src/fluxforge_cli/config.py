"""`fluxforge config`: the configuration, checked, shown, described."""

from typing import Annotated, Final

import typer

from fluxforge_cli.options import ConfigOption, choose

app: Final = typer.Typer(no_args_is_help=True, help="Check, show or describe the configuration.")

_JSON_OPTION = typer.Option("--json", help="JSON instead of YAML.")


@app.command()
def check(config: ConfigOption = None) -> None:
    """Say whether the configuration can be used; every fault with its line, key and what would be right."""
    chosen = choose(config)
    tree = chosen.settings
    channels = [
        f"{exchange} {method} ({_count(markets)})"
        for exchange, one in tree.ccxt.exchanges.items()
        for method, markets in one.channels.items()
        if markets
    ]
    if tree.coinbase:
        listed = tree.coinbase.channels.items()
        channels += [f"coinbase {channel} ({_count(markets)}, natively)" for channel, markets in listed if markets]
    typer.echo(f"{chosen.config or 'defaults and environment'}: ok")
    typer.echo(f"captures: {', '.join(channels) if channels else 'nothing'}")


@app.command()
def show(config: ConfigOption = None, json: Annotated[bool, _JSON_OPTION] = False) -> None:
    """Print the configuration that is in force, defaults and environment included, secrets masked."""
    import orjson  # noqa: PLC0415 - heavy
    import yaml  # noqa: PLC0415 - heavy

    tree = choose(config).settings.model_dump(mode="json")
    text = orjson.dumps(tree, option=orjson.OPT_INDENT_2).decode() if json else yaml.safe_dump(tree, sort_keys=False)
    typer.echo(text.rstrip())


@app.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    import orjson  # noqa: PLC0415 - heavy

    from fluxforge.runtime.settings import Settings  # noqa: PLC0415 - heavy

    typer.echo(orjson.dumps(Settings.model_json_schema(), option=orjson.OPT_INDENT_2).decode())


def _count(markets: object) -> str:
    return str(len(markets)) if isinstance(markets, tuple) else "filtered"
