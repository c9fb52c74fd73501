"""The oracle: what a whole lane becomes, as the specification words it, one row at a time, in plain Python.

Slow and obvious on purpose. It shares no code with what it checks, and it knows no segments: it takes the records of a
lane from its first to its last, so that whatever the cuts were, the rows must be these.
"""

from tests.unit.fluxforge_etl_worker.oracle.bars import bar_rows
from tests.unit.fluxforge_etl_worker.oracle.datasets import book_rows, coverage_rows, ticker_rows, trade_rows
from tests.unit.fluxforge_etl_worker.oracle.hf import hf_keys, hf_rows

__all__ = ["bar_rows", "book_rows", "coverage_rows", "hf_keys", "hf_rows", "ticker_rows", "trade_rows"]
