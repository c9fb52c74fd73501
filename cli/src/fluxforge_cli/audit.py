"""`fluxforge audit`: whether everything that was captured stands in Parquet exactly once, or its absence is named."""

from pathlib import Path
from typing import Annotated

import typer

from fluxforge_cli.options import ConfigOption, ThereOption, choose

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]
DeepOption = Annotated[bool, typer.Option("--deep", help="Read every byte: checksums of segments and parts, too.")]
LedgerOption = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="What the simulator says it sent (its --ledger): each frame must be in Parquet once, or inside a hole.",
    ),
]
LaneOption = Annotated[
    list[str] | None,
    typer.Option("--lane", metavar="LANE", help="This lane alone, such as ccxt-binance-0of1; may be repeated."),
]


def audit(
    json: JsonOption = False,
    deep: DeepOption = False,
    ledger: LedgerOption = None,
    lane: LaneOption = None,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Close the books: captured = sealed = in Parquet, as ranges of seqs per feed, or each missing range by name.

    It only reads, and needs no bus; with one it also tells what is still on its way. Exit code 0: balanced, 1: not.
    """
    from fluxforge.domain.lane import Lane  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.audit.close import close  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.audit.ledger import against_ledger  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.audit.report import print_audit, to_json  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.audit.take import take  # noqa: PLC0415 - heavy
    from fluxforge_cli.screen.terminal import terminal  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    lanes = [Lane.parse(name) for name in lane or ()]
    found = close(take(settings, lanes=lanes, deep=deep))
    if ledger is not None:
        found = against_ledger(found, ledger, settings, lanes)
    if json:
        typer.echo(to_json(found), nl=False)
    else:
        print_audit(terminal(), found)
    raise typer.Exit(0 if found.balanced else 1)
