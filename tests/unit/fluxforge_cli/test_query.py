from pathlib import Path

import orjson
from typer.testing import CliRunner

from fluxforge_cli.main import app

VALUES = """SELECT 1 AS i, 0.1::DOUBLE AS f, 'a,"b"' AS s, NULL AS n, TIMESTAMPTZ '2026-11-22 10:00:00.5+00' AS t"""


def query(tmp_path: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["query", "--data", str(tmp_path), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_csv_is_quoted_and_times_bear_their_zone(tmp_path: Path) -> None:
    assert (
        query(tmp_path, "--format", "csv", VALUES) == 'i,f,s,n,t\n1,0.1,"a,""b""",,2026-11-22 10:00:00.500000+00:00\n'
    )


def test_json_is_one_array_of_objects(tmp_path: Path) -> None:
    assert orjson.loads(query(tmp_path, "--format", "json", VALUES)) == [
        {"i": 1, "f": 0.1, "s": 'a,"b"', "n": None, "t": "2026-11-22T10:00:00.500000Z"}
    ]
    assert orjson.loads(query(tmp_path, "--format", "json", "SELECT * FROM trades")) == []


def test_sums_of_whole_numbers_are_numbers(tmp_path: Path) -> None:
    assert orjson.loads(query(tmp_path, "--format", "json", "SELECT sum(i) AS s FROM range(5) t(i)")) == [{"s": 10}]


def test_the_table_stops_at_200_rows_and_says_how_many_there_are(tmp_path: Path) -> None:
    lines = query(tmp_path, "SELECT i FROM range(1500) t(i)").splitlines()
    assert lines[1].strip() == "0"
    assert lines[200].strip() == "199"
    assert lines[201] == "1,300 more rows: --format csv or json prints them all"


def test_a_wide_table_is_not_cut_off_in_a_pipe(tmp_path: Path) -> None:
    columns = ", ".join(f"'{'x' * 30}' AS c{n}" for n in range(20))
    assert query(tmp_path, f"SELECT {columns}").count("x" * 30) == 20
