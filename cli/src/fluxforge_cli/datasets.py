"""Datasets as DuckDB sees them: one view each, over every source.

Those that every capture has are there with their schema even where there is no file yet, any other once it has one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fluxforge.domain.partition import Dataset
from fluxforge_cli.files import Files

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_SUFFIX: Final = ".parquet"
_FILES: Final = {
    "ticker": Dataset.TICKER,
    "all_trades": Dataset.TRADES,
    "books": Dataset.BOOKS,
    "hf": Dataset.HF,
    "bars": Dataset.BARS,
    "all_coverage": Dataset.COVERAGE,
}
_DERIVED: Final = {
    # A trade that the venue sent again, or that was fetched afterwards, is not part of the live tape.
    "trades": "SELECT * FROM all_trades WHERE NOT coalesce(resent, false) AND coalesce(source_kind, '') <> 'backfill'",
    # All that is said of one hole is one row: from its first word to its last.
    "coverage": """
        SELECT * EXCLUDE (_key, _last) FROM (
            SELECT * REPLACE (
                    min(from_ns) OVER hole AS from_ns,
                    max(to_ns) OVER hole AS to_ns,
                    max(count) OVER hole AS count,
                    min(first_seq) OVER hole AS first_seq,
                    max(last_seq) OVER hole AS last_seq
                ),
                coalesce(hole, boot || ':' || channel || ':' || event || ':' || seq) AS _key,
                row_number() OVER (hole ORDER BY ts, seq) AS _last
            FROM all_coverage
            WINDOW hole AS (
                PARTITION BY source, exchange, symbol, channel,
                coalesce(hole, boot || ':' || channel || ':' || event || ':' || seq)
            )
        ) WHERE _last = 1""",
}
VIEWS: Final = ("ticker", "trades", "books", "hf", "bars", "coverage")
_TAKEN: Final = frozenset({*_FILES, *_DERIVED, *(dataset.partition("/")[0] for dataset in _FILES.values())})
"""Names of views and directories that no dataset of another channel has."""


def open_datasets(processed: Files) -> "duckdb.DuckDBPyConnection":
    """Return a database in memory with the views over the datasets below `processed`.

    Besides the views of the public set there are `all_trades` (resent and backfilled ones, too) and `all_coverage`
    (every single record of a hole), and one view by the name of each other channel that has a file.
    """
    import duckdb  # noqa: PLC0415 - heavy

    database = duckdb.connect(":memory:")
    processed.register(database)
    sources = processed.directories()
    for view, dataset in _FILES.items():
        if not _create(database, view, processed, sources, dataset):
            _create_empty(database, view, dataset)
    for view, sql in _DERIVED.items():
        database.execute(f"CREATE VIEW {view} AS {sql}")
    channels = {name for source in sources for name in processed.below(source).directories()}
    # A channel is lower-case letters, digits and _: any other directory is none of ours.
    for channel in sorted(name for name in channels - _TAKEN if name.isidentifier() and name.islower()):
        _create(database, channel, processed, sources, channel)
    return database


def _create(
    database: "duckdb.DuckDBPyConnection", view: str, processed: Files, sources: Sequence[str], dataset: str
) -> bool:
    """Create the view over a dataset of all sources; return whether any has a file of it."""
    parts = [part for source in sources if (part := _select(processed, source, dataset))]
    if parts:
        database.execute(f'CREATE VIEW "{view}" AS {" UNION ALL BY NAME ".join(parts)}')
    return bool(parts)


def _select(processed: Files, source: str, dataset: str) -> str | None:
    root = processed.below(f"{source}/{dataset}")
    file = root.first_file(_SUFFIX)
    if file is None:
        return None
    columns = [part.partition("=")[0] for part in file.split("/")[:-1]]
    types = ", ".join(f"{_quote(column)}: {'DATE' if column == 'date' else 'VARCHAR'}" for column in columns)
    hive = f", hive_partitioning = true, hive_types = {{{types}}}" if columns else ""
    files = ", ".join(map(_quote, root.parquet()))
    return f"SELECT {_quote(source)} AS source, * FROM read_parquet([{files}], union_by_name = true{hive})"  # noqa: S608 - quoted


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _create_empty(database: "duckdb.DuckDBPyConnection", view: str, dataset: Dataset) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    plain = [
        pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in _schema(dataset)
    ]
    columns = [pa.field("source", pa.string()), *plain, pa.field("date", pa.date32())]
    database.from_arrow(pa.schema(columns).empty_table()).create(view)


def _schema(dataset: Dataset) -> "pa.Schema":
    from fluxforge.runtime.settings import BookProcessorOptions  # noqa: PLC0415 - heavy
    from fluxforge_etl_worker import schemas  # noqa: PLC0415 - heavy
    from fluxforge_etl_worker.features.registry import streaming_features, structural_features  # noqa: PLC0415 - heavy

    if dataset is Dataset.HF:
        options = BookProcessorOptions()
        return schemas.hf_schema(
            (*structural_features(options.max_levels), *streaming_features(tuple(options.horizons)))
        )
    fixed: dict[Dataset, pa.Schema] = {
        Dataset.TICKER: schemas.TICKER,
        Dataset.TRADES: schemas.TRADES,
        Dataset.BOOKS: schemas.BOOKS,
        Dataset.BARS: schemas.BARS,
        Dataset.COVERAGE: schemas.COVERAGE,
    }
    return fixed[dataset]
