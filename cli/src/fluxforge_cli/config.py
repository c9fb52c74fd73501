"""`fluxforge config`: the configuration, checked, shown, described."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fluxforge_cli.options import ConfigOption, choose

if TYPE_CHECKING:  # heavy
    from fluxforge.runtime.settings import Settings

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
    channels += [
        f"{name} {channel} ({_count(wanted)}, natively)"
        for name, of in _natively(tree)
        for channel, wanted in of.items()
        if wanted
    ]
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


def _natively(tree: "Settings") -> Iterator[tuple[str, Mapping[Any, object]]]:
    if tree.coinbase:
        yield "coinbase", tree.coinbase.channels
    for name, dataset in tree.databento.datasets.items() if tree.databento else ():
        yield f"databento {name}", dataset.channels
    if tree.ibkr:
        yield "ibkr", tree.ibkr.channels


def _count(markets: object) -> str:
    return str(len(markets)) if isinstance(markets, tuple) else "filtered"
