"""The report of a run: the balance as a table, what differs in words, the time of each step."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fluxforge_cli.account.balance import Counts, differences, lines
from fluxforge_cli.account.ledger import Delivery
from fluxforge_cli.system.run import Step


def print_balance(console: Console, counts: Counts) -> bool:
    """Print what each place counted; return whether the balance closes."""
    console.print("\n[bold]Records captured = sealed = processed[/bold]", highlight=False)
    console.print("by the collectors' last count, the manifests, and the Parquet files (control: commits)", style="dim")
    table = _table("exchange", "channel", numbers=("captured", "sealed", "processed"))
    for line in lines(counts):
        processed = "off" if line.processed is None else f"{line.processed:,}"
        mark = Text("=", style="green") if line.balanced else Text("differs", style="red")
        table.add_row(line.exchange, line.channel, f"{line.captured:,}", f"{line.sealed:,}", processed, mark)
    console.print(table)
    for exchange, count in (*counts.quarantined.items(), *counts.dropped.items()):
        if count:
            console.print(f"{exchange}: {count:,} records are named in quarantine or as dropped", highlight=False)
    found = differences(counts)
    for text in found:
        console.print(Text(f"differs: {text}", style="red"))
    for text in counts.unknown:
        console.print(Text(f"unknown: {text}", style="red"))
    return not found and not counts.unknown


def print_deliveries(console: Console, deliveries: Sequence[Delivery]) -> bool:
    """Print what the exchange sent against what stands in Parquet; return whether they agree."""
    console.print("\n[bold]Sent by the exchange = in Parquet[/bold]", highlight=False)
    console.print("by the simulator's ledger and DuckDB; trades: distinct ids, else frames and rows", style="dim")
    table = _table("exchange", "symbol", "channel", numbers=("sent", "in Parquet"))
    for one in deliveries:
        mark = Text("=", style="green") if one.sent == one.stored else Text("differs", style="red")
        table.add_row(one.exchange, one.symbol, one.channel, f"{one.sent:,}", f"{one.stored:,}", mark)
    console.print(table)
    return bool(deliveries) and all(one.sent == one.stored for one in deliveries)


def print_steps(console: Console, steps: Sequence[Step]) -> None:
    """Print how long each step took, and all of them."""
    text = ", ".join(f"{step.name} {step.seconds:.1f} s" for step in steps)
    total_s = sum(step.seconds for step in steps)
    console.print(f"\n[bold]Time[/bold]\n{text}; together {total_s:.1f} s", highlight=False, soft_wrap=True)


def _table(*texts: str, numbers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in texts:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    return table
