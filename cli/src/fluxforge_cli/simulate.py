"""`fluxforge simulate`: an exchange on loopback."""

from pathlib import Path
from typing import Annotated

import typer

from fluxforge.domain.errors import UsageError

RecordingOption = Annotated[
    list[Path] | None,
    typer.Option("--recording", metavar="FILE", help="Play this recording; may be repeated: they are played as one."),
]


def simulate(  # noqa: PLR0913, PLR0917 - a command's options
    recording: RecordingOption = None,
    exchange: Annotated[
        str | None, typer.Option(metavar="ID", help="This venue alone; with recordings: whose they are.")
    ] = None,
    markets: Annotated[Path | None, typer.Option(metavar="FILE", help="Market list that a recording lacks.")] = None,
    speed: Annotated[
        str, typer.Option(metavar="N|max", help="Multiple of the recorded or made-up pace; or max.")
    ] = "1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 0,
    ledger: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what is sent to this NDJSON file.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End when the recording was played and heard.")] = False,
    settle: Annotated[float, typer.Option(min=0, help="Seconds from the last subscription to the first frame.")] = 1.0,
    wait_for: Annotated[int | None, typer.Option(min=1, help="Begin when this many feeds are subscribed.")] = None,
    seed: Annotated[int, typer.Option(help="Of the made-up markets.")] = 1,
) -> None:
    """Be an exchange: made-up markets of Binance, Coinbase and Kraken, or recordings of real ones.

    The first line printed is {"port": N}. Point an exchange at it with `via: 127.0.0.1:N`.
    """
    from fluxforge_simulator.options import SimulateOptions  # noqa: PLC0415 - heavy
    from fluxforge_simulator.run import simulate as run_simulator  # noqa: PLC0415 - heavy

    options = SimulateOptions(
        recordings=tuple(recording or ()),
        exchange=exchange,
        markets=markets,
        speed=_speed(speed),
        port=port,
        ledger=ledger,
        once=once,
        settle_s=settle,
        wait_for=wait_for,
        seed=seed,
    )
    raise typer.Exit(run_simulator(options))


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--speed {text!r}: expected a number above 0, or max") from None
