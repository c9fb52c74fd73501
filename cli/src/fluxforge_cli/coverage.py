"""`fluxforge coverage`: for how much of its time each feed was captured whole, and how sure that is."""

from pathlib import Path
from typing import Annotated

import typer

from fluxforge_cli.dataset import EndOption, ExchangeOption, StartOption, SymbolOption, datasets_of
from fluxforge_cli.options import ConfigOption, ThereOption

SourcesOption = Annotated[list[str] | None, typer.Option("--source", help="Such as ccxt; may be given several times.")]
DateOption = Annotated[str | None, typer.Option("--date", metavar="DAY", help="This day, UTC, such as 2026-11-22.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object, with every hole, instead of tables.")]
PictureOption = Annotated[
    Path | None,
    typer.Option(
        "--picture",
        metavar="FILE",
        help="Draw the feeds over time as well: .svg, or .png where matplotlib is installed. A file there is replaced.",
    ),
]


def coverage(  # noqa: PLR0913, PLR0917 - the options of a command
    exchange: ExchangeOption = None,
    symbol: SymbolOption = None,
    date: DateOption = None,
    start: StartOption = None,
    end: EndOption = None,
    source: SourcesOption = None,
    json: JsonOption = False,
    picture: PictureOption = None,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Say of each feed how much of the time it was captured whole, what interrupted it, and whether a loss would show.

    Verified: in no hole, and by the venue's own numbers or checksums nothing is missing. Unverifiable: in no hole, and
    the venue offers nothing to go by.
    """
    from fluxforge_cli.account.coverage.report import print_coverage, to_json  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.coverage.take import Asked, take  # noqa: PLC0415 - heavy
    from fluxforge_cli.picture.painter import painter_of  # noqa: PLC0415 - beside its use
    from fluxforge_cli.picture.timeline import timeline  # noqa: PLC0415 - heavy
    from fluxforge_cli.screen.terminal import terminal  # noqa: PLC0415 - heavy

    asked = Asked.of(source or (), exchange or (), symbol or (), day=date, start=start, end=end)
    paint = painter_of(picture) if picture else None
    found = take(datasets_of(config, data), asked)
    if json:
        typer.echo(to_json(found), nl=False)
    else:
        print_coverage(terminal(), found)
    if paint is not None:
        paint(timeline(found, *asked.bounds_ns))
        typer.echo(f"{picture}: {len(found):,} feeds", err=True)
