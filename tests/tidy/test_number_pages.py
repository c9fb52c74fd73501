"""The pages of measured numbers: what their writers write, and nothing missed in silence."""

import re
from pathlib import Path

import pytest
from benchmarks.etl import MISSED

from tests.faults.table import BEGIN, END, machine

DOCS = Path(__file__).resolve().parents[2] / "docs"
FACTS = re.compile(r"`[^`]+`, .* UTC; .*, Python \d+\.\d+\.\d+\.")


@pytest.mark.parametrize("name", ["benchmarks.md", "reliability.md"])
def test_a_kernel_is_told_by_its_version_not_by_its_build(name: str) -> None:
    build = re.compile(r"Linux \d+\.\d+[.-]\S*\d")
    assert build.findall((DOCS / name).read_text()) == []
    assert build.findall(machine()) == []


def test_between_the_marks_of_a_fault_run_stands_what_the_run_writes() -> None:
    block = (DOCS / "reliability.md").read_text().partition(BEGIN)[2].partition(END)[0].split("\n")
    _, facts, blank, *table, _ = block
    assert FACTS.fullmatch(facts)
    assert blank == ""
    assert [line for line in table if not line.startswith("|")] == []


def test_a_ratio_below_what_it_should_be_is_said_to_be_missed() -> None:
    blocks = (DOCS / "benchmarks.md").read_text().split("\n\n")
    silent = []
    for block, next_block in zip(blocks, [*blocks[1:], ""], strict=True):
        head, *rows = [[cell.strip() for cell in line.split("|")] for line in block.splitlines()] or [[]]
        if "ratio" in head and "at least" in head:
            ratio, wanted = head.index("ratio"), head.index("at least")
            missed = [row for row in rows[1:] if float(row[ratio]) < float(row[wanted])]
            silent += [row for row in missed if not next_block.startswith(MISSED)]
    assert silent == []
