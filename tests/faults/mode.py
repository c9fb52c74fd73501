"""How much of the fault runs is run: `--faults bounded` (the default) a few of each, `--faults full` all of it.

The seed of everything random is FLUXFORGE_SEED, or drawn anew; it stands in the report of every failure.
"""

import os
import random
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.table import FaultTable

Runs = Callable[..., int]
_TABLE = pytest.StashKey[FaultTable]()
_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--faults", choices=("bounded", "full"), default="bounded", help="how many faults are injected")
    group.addoption("--faults-table", type=Path, help="the page that gets the table of the run")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = FaultTable()
    # Workers of one run share the seed of the process that started them.
    config.stash[_SEED] = int(os.environ.setdefault("FLUXFORGE_SEED", str(random.randrange(2**31))))


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: {config.getoption('--faults')}, FLUXFORGE_SEED={config.stash[_SEED]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[_TABLE]
    if not table.rows:
        return
    terminalreporter.section(f"faults (FLUXFORGE_SEED={config.stash[_SEED]})")
    for line in table.lines():
        terminalreporter.write_line(line)
    page = config.getoption("--faults-table")
    if page:
        command = os.environ.get("FLUXFORGE_FAULTS_COMMAND") or shlex.join(["pytest", *sys.argv[1:]])
        table.write(page, command=command, seed=config.stash[_SEED])


@pytest.fixture(scope="session")
def is_full(pytestconfig: pytest.Config) -> bool:
    """Whether all faults are run."""
    return pytestconfig.getoption("--faults") == "full"


@pytest.fixture(scope="session")
def runs(is_full: bool) -> Runs:  # noqa: FBT001 - a fixture
    """Return a function that chooses between the bounded and the full number of runs."""

    def choose(*, bounded: int, full: int) -> int:
        return full if is_full else bounded

    return choose


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> FaultTable:
    """The table of this run: `table.add(fault=..., runs=..., recoveries_s=[...])`."""
    return pytestconfig.stash[_TABLE]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of the run; shown with whatever fails."""
    value = request.config.stash[_SEED]
    print(f"FLUXFORGE_SEED={value}")
    return value
