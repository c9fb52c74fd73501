"""Taking the account of a run: asks each place what it counted of the boots of this run."""

from fluxforge.runtime.settings import Settings
from fluxforge_cli.account.audit.storage import Storage
from fluxforge_cli.account.balance import Counts
from fluxforge_cli.account.captured import captured, dropped
from fluxforge_cli.account.parquet import processed
from fluxforge_cli.account.sealed import quarantined, sealed, segments
from fluxforge_cli.stores import output_store, segment_store
from fluxforge_cli.system.run import Run


def take_account(settings: Settings, run: Run) -> Counts:
    """Return what collectors, manifests and Parquet files counted; troubles of the run are what is unknown."""
    boots = frozenset(status.boot for status in run.collectors)
    store = segment_store(settings)
    found = segments(store, settings.layout)
    storage = Storage(store, output_store(settings), settings.layout)
    return Counts(
        captured=captured(run.collectors),
        sealed=sealed(found, boots),
        processed=processed(storage, found, boots, keeps_books=settings.etl.channels.orderbook.keep_books),
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
