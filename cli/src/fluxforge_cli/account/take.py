"""Taking the account of a run: asks each place what it counted of the boots of this run."""

from fluxforge.runtime.settings import Settings
from fluxforge_cli.account.balance import Counts
from fluxforge_cli.account.captured import captured, dropped
from fluxforge_cli.account.parquet import processed
from fluxforge_cli.account.sealed import committed_control, quarantined, sealed, segments
from fluxforge_cli.datasets import open_datasets
from fluxforge_cli.stores import processed_files, segment_store
from fluxforge_cli.system.run import Run


def take_account(settings: Settings, run: Run) -> Counts:
    """Return what collectors, manifests and Parquet files counted; troubles of the run are what is unknown."""
    boots = frozenset(status.boot for status in run.collectors)
    found = segments(segment_store(settings), settings.layout)
    database = open_datasets(processed_files(settings))
    in_parquet = processed(database, sorted(boots), since_ns=run.started_ns)
    return Counts(
        captured=captured(run.collectors),
        sealed=sealed(found, boots),
        processed={**in_parquet, **committed_control(found, boots)},
        quarantined=quarantined(found, boots),
        dropped=dropped(run.collectors),
        unprocessed=_unprocessed(settings),
        unknown=tuple(run.troubles),
    )


def _unprocessed(settings: Settings) -> frozenset[str]:
    channels = settings.etl.channels
    off = {
        name: not one.enabled
        for name, one in (("ticker", channels.ticker), ("trades", channels.trades), ("wire", channels.wire))
    }
    off["orderbook"] = not (channels.orderbook.enabled and channels.orderbook.keep_books)
    return frozenset(name for name, is_off in off.items() if is_off)
