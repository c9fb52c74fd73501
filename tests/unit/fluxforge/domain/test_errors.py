import pickle

import pytest

from fluxforge.domain.errors import FluxForgeError, ObjectNotFoundError, SchemaMismatchError, SegmentCorruptError


@pytest.mark.parametrize(
    "error",
    [SegmentCorruptError("key", "a", "b"), SchemaMismatchError("ticker", "x", "y"), ObjectNotFoundError("key")],
)
def test_an_error_is_the_same_in_another_process(error: FluxForgeError) -> None:
    again = pickle.loads(pickle.dumps(error))  # what multiprocessing does
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
