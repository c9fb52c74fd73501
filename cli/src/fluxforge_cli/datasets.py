"""Datasets as DuckDB sees them: one view each, over every source, with schema even where there is no file yet."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fluxforge.domain.partition import Dataset

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_GLOB: Final = "**/*.parquet"
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


def open_datasets(processed: Path) -> "duckdb.DuckDBPyConnection":
    """Return a database in memory with the views over the datasets below `processed`.

    Besides the views of the public set there are `all_trades` (resent and backfilled ones, too) and `all_coverage`
    (every single record of a hole).
    """
    import duckdb  # noqa: PLC0415 - heavy

    database = duckdb.connect(":memory:")
    for view, dataset in _FILES.items():
        sources = [source for source in sorted(_directories(processed)) if _first_file(source / dataset)]
        if sources:
            parts = [_select(source, dataset) for source in sources]
            database.execute(f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(parts)}")
        else:
            _create_empty(database, view, dataset)
    for view, sql in _DERIVED.items():
        database.execute(f"CREATE VIEW {view} AS {sql}")
    return database


def _directories(root: Path) -> list[Path]:
    return [entry for entry in root.iterdir() if entry.is_dir()] if root.is_dir() else []


def _first_file(root: Path) -> Path | None:
    return next(root.glob(_GLOB), None)


def _select(source: Path, dataset: Dataset) -> str:
    root = source / dataset
    file = _first_file(root)
    assert file is not None
    columns = [part.partition("=")[0] for part in file.relative_to(root).parts[:-1]]
    types = ", ".join(f"{_quote(column)}: {'DATE' if column == 'date' else 'VARCHAR'}" for column in columns)
    hive = f", hive_partitioning = true, hive_types = {{{types}}}" if columns else ""
    name = _quote(source.name)
    return f"SELECT {name} AS source, * FROM read_parquet({_quote(str(root / _GLOB))}, union_by_name = true{hive})"  # noqa: S608 - quoted


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
