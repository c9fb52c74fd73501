"""Standing parts: what a partition holds already, and whether another part may join it.

Readers take the schema of a partition from any of its files, so that all of them must agree. Only the footer of one
standing part is read; whatever joined before agreed with it.
"""

from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.domain.errors import ObjectNotFoundError, PartitionSchemaError
from fluxforge.ports.store import Store
from fluxforge.runtime.stored_file import StoredFile
from fluxforge_etl_worker.generic import conformed
from fluxforge_etl_worker.parts import PartFile, rewritten
from fluxforge_etl_worker.schemas import has_fixed_schema

_SUFFIX: Final = ".parquet"
_LISTINGS_MAX: Final = 3
"""All that was listed may have been merged before it is opened; what it became is listed then."""


def fitting(part: PartFile, output: Store, place: str, compression: str) -> PartFile:
    """Return a part as it may stand at `place`, the key prefix of its partition.

    A channel without a schema of its own is conformed to what stands there.

    Raises:
        PartitionSchemaError: It would break the partition's schema; names dataset, partition and column.
    """
    standing = standing_schema(output, place)
    own = pq.read_schema(pa.BufferReader(part.body))
    if standing is None or own.equals(standing):
        return part
    if not has_fixed_schema(part.dataset):
        table = pq.ParquetFile(pa.BufferReader(part.body)).read()  # `read_table` imports pandas
        return rewritten(part, conformed(table, standing.remove_metadata()), compression)
    raise PartitionSchemaError(str(part.dataset), *_difference(part.partition, standing, own))


def standing_schema(output: Store, place: str) -> pa.Schema | None:
    """Return the schema of a part that stands in a partition, None where there is none."""
    for _ in range(_LISTINGS_MAX):
        is_overtaken = False
        for key in output.keys(place):
            if key.endswith(_SUFFIX) and "/" not in key[len(place) + 1 :]:
                schema = _schema(output, key)
                if schema is not None:
                    return schema
                is_overtaken = is_overtaken or output.size(key) is None
        if not is_overtaken:
            break
    return None


def agrees(output: Store, key: str, place: str) -> bool:
    """Return whether the part at `key` has the schema of what stands at `place`; one that is not there does."""
    own = _schema(output, key)
    standing = standing_schema(output, place) if own is not None else None
    return own is None or standing is None or own.equals(standing)


def _schema(output: Store, key: str) -> pa.Schema | None:
    """Return the schema of a part; None where it was moved away meanwhile, or is no part at all."""
    try:
        return pq.read_schema(pa.PythonFile(StoredFile(output, key), mode="r"))
    except (ObjectNotFoundError, pa.ArrowInvalid):
        return None


def _difference(partition: str, standing: pa.Schema, own: pa.Schema) -> tuple[str, str]:
    pairs = enumerate(zip(standing, own, strict=False))
    column = next((n for n, (a, b) in pairs if not a.equals(b)), min(len(standing), len(own)))
    expected, was = (
        f"{schema.field(column).name} {schema.field(column).type}" if column < len(schema) else "no such column"
        for schema in (standing, own)
    )
    advice = (
        "nothing was written. Set back the option that changed it, or keep the datasets apart: choose another "
        "storage.paths.processed_dir, into which `fluxforge etl run --force` recomputes what there is"
    )
    where = f"column {column + 1} of partition {partition!r} to be {expected}, as in the parts that stand there"
    return where, f"{was}; {advice}"
