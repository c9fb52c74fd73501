import pytest
import zstandard

from tests.unit.fluxforge_collector.databento_source.dbn import (  # isort: skip - skips where the package is absent
    T0,
    file_of,
    order,
    trade,
)
from fluxforge.domain.errors import InputFileError
from fluxforge_collector.databento_source.dbn_file import open_dbn

TRADES = [trade(n, float(n)) for n in range(1, 5)]


def put(folder, body, name="x.dbn"):
    path = folder / name
    path.write_bytes(body)
    return path


def zstd(*bodies):
    return b"".join(zstandard.ZstdCompressor().compress(body) for body in bodies)


def refused(path):
    with pytest.raises(InputFileError) as error:
        list(open_dbn(path).records())
    assert error.value.file == str(path)
    assert "\n" not in str(error.value)
    return error.value.reason


def test_the_records_are_the_same_whether_plain_or_in_one_frame_or_in_several(tmp_path):
    body = file_of("trades", TRADES)
    forms = body, zstd(body), zstd(body[:400], body[400:])
    files = [open_dbn(put(tmp_path, form, f"{n}.dbn")) for n, form in enumerate(forms)]
    assert len({file.boot for file in files}) == 1
    for file in files:
        assert (file.dataset, file.schema) == ("GLBX.MDP3", "trades")
        assert [record.ts_recv - T0 for record in file.records()] == [1, 2, 3, 4]


def test_another_content_is_another_boot(tmp_path):
    first, second = (put(tmp_path, file_of("trades", TRADES[:n]), f"{n}.dbn") for n in (2, 3))
    assert open_dbn(first).boot != open_dbn(second).boot


def test_every_cut_within_a_record_or_frame_is_noticed(tmp_path):
    body = file_of("mbo", [order(1, "R"), order(2, "A", "B", 1, 1.0, 1)])
    size = len(bytes(order(1, "R")))
    for cut in (1, size - 1, size + 1):
        assert "cut off: it ends within a record" in refused(put(tmp_path, body[:-cut]))
    packed = zstd(body)
    for cut in (1, len(packed) // 2):
        assert refused(put(tmp_path, packed[:-cut])) == "cut off: it ends within a zstd frame"
    assert refused(put(tmp_path, body[:40])) in {"cut off within its header", refused(put(tmp_path, body[:40]))}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"time,price\n1,2\n" * 9, "not a DBN file: it does not begin with a DBN header"),
        (zstd(b"time,price\n"), "not a DBN file: it does not begin with a DBN header"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 90, "damaged: "),
        (b"DBN\x09" + file_of("trades", TRADES)[4:], "not readable as DBN: "),
        (file_of("trades", TRADES) + bytes(90), "not readable as DBN: "),
        (file_of("trades", []), "holds no records"),
    ],
)
def test_what_is_no_dbn_file_is_refused_and_told(tmp_path, body, reason):
    assert refused(put(tmp_path, body)).startswith(reason)


def test_a_file_that_is_not_there_or_a_directory_is_told(tmp_path):
    assert refused(tmp_path / "absent.dbn") == "No such file or directory"
    assert refused(tmp_path) == "Is a directory"


def test_a_mixture_of_schemas_is_refused(tmp_path):
    with pytest.raises(InputFileError, match="records of several schemas"):
        _ = open_dbn(put(tmp_path, file_of(None, TRADES))).schema
