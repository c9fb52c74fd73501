import re
from pathlib import Path

import pyarrow as pa
import pytest

from fluxforge.domain.errors import SchemaMismatchError
from fluxforge.domain.partition import Dataset
from fluxforge_etl_worker import schemas
from fluxforge_etl_worker.schemas import STRUCTURES, check_schema, hf_schema, structure_schema
from tests.unit.fluxforge_etl_worker.samples import OPTIONS

DOCUMENT = Path(__file__).parents[3] / "docs" / "formats" / "dataset.md"
FEATURES = OPTIONS.features

WITHOUT_KEYS = {Dataset.BARS, Dataset.COVERAGE}
FIXED: dict[str, pa.Schema] = {
    Dataset.TRADES: schemas.TRADES,
    Dataset.TICKER: schemas.TICKER,
    Dataset.BOOKS: schemas.BOOKS,
    Dataset.BARS: schemas.BARS,
    Dataset.COVERAGE: schemas.COVERAGE,
    **{channel: structure_schema(channel) for channel in STRUCTURES},
}


def documented() -> dict[str, list[tuple[str, str]]]:
    """Return the columns and types of the document's tables by what the titles name."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for section in re.split(r"^##+ ", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        columns = [
            (name, kind)
            for names, kind in re.findall(r"^\| (`.*?) \| (.*?) \|", section, flags=re.MULTILINE)
            for name in re.findall(r"`(.*?)`", names)
        ]
        for name in re.findall(r"`(.*?)`", title.partition(":")[0]) or [title]:
            tables[name] = columns
    return tables


def columns_of(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, kind(field.type)) for field in schema]


def kind(dtype: pa.DataType) -> str:
    if pa.types.is_dictionary(dtype):
        return f"dictionary({dtype.index_type}, {dtype.value_type})"
    if pa.types.is_timestamp(dtype):
        return f"timestamp[{dtype.unit}, {dtype.tz}]"
    if pa.types.is_list(dtype):
        return f"list({kind(dtype.value_type)})"
    return {"double": "float64"}.get(str(dtype), str(dtype))


def test_the_document_lists_every_dataset_and_no_other():
    assert set(documented()) == {"Keys", Dataset.HF, *FIXED, "Other channels", "Any other"}


@pytest.mark.parametrize("dataset", FIXED)
def test_the_document_lists_the_columns_of_a_dataset_in_order_with_their_types(dataset):
    tables = documented()
    keys = [] if dataset in WITHOUT_KEYS else tables["Keys"]
    assert [*keys, *tables[dataset]] == columns_of(FIXED[dataset])


def test_the_document_lists_what_stands_before_features_and_around_the_fields_of_a_channel():
    tables = documented()
    assert [*tables["Keys"], *tables[Dataset.HF]] == columns_of(hf_schema(()))
    assert [*tables["Keys"], *tables["Any other"]] == columns_of(pa.schema([*schemas.GENERIC_KEYS, schemas.MORE]))


def test_the_document_names_the_version_of_the_schemas():
    assert f"`fluxforge.schema_version` ({schemas.SCHEMA_VERSION})" in DOCUMENT.read_text()


@pytest.mark.parametrize("dataset", [*FIXED, Dataset.HF])
def test_a_table_of_its_schema_passes(dataset):
    schema = FIXED.get(dataset, hf_schema(FEATURES))
    check_schema(dataset, schema.empty_table(), FEATURES)


@pytest.mark.parametrize("dataset", [*FIXED, Dataset.HF])
def test_a_table_of_another_schema_is_refused_by_its_first_column_that_differs(dataset):
    schema = FIXED.get(dataset, hf_schema(FEATURES))
    last = schema.names[-1]
    with pytest.raises(
        SchemaMismatchError, match=f"^dataset '{dataset}': expected column {last} .*, was {last} binary"
    ):
        check_schema(dataset, schema.set(len(schema) - 1, pa.field(last, pa.binary())).empty_table(), FEATURES)
    with pytest.raises(SchemaMismatchError, match=r"expected column symbol dictionary<.*>, was market string"):
        check_schema(dataset, schema.remove(1).empty_table(), FEATURES)
    with pytest.raises(SchemaMismatchError, match=f"expected {len(schema)} columns, was {len(schema) + 1}"):
        check_schema(dataset, schema.append(pa.field("odd", pa.int8())).empty_table(), FEATURES)


def test_feature_rows_of_other_horizons_are_another_schema():
    table = hf_schema(FEATURES[:-1]).empty_table()
    with pytest.raises(SchemaMismatchError):
        check_schema(Dataset.HF, table, FEATURES)
