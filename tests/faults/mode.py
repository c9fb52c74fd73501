"""How much of the fault runs is run: `--faults bounded` (the default) a few of each, `--faults full` all of it.

The seed of everything random is FLUXFORGE_SEED. Without it the bounded share has one that never changes, so that a
change is judged by what it changed, and the full one draws its own; it stands in the report of every failure.
"""

import os
import random
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.notices import Notice, NoticeTable
from tests.faults.table import FaultTable, Row, facts

Runs = Callable[..., int]
_TABLE = pytest.StashKey[FaultTable]()
_NOTICES = pytest.StashKey[NoticeTable]()
_ROW = "fault"
_NOTICE = "notice"
_SEED = pytest.StashKey[int]()
_BOUNDED_SEED = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--faults", choices=("bounded", "full"), default="bounded", help="how many faults are injected")
    group.addoption("--faults-table", type=Path, help="the page that gets the table of the run")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = FaultTable()
    config.stash[_NOTICES] = NoticeTable()
    config.pluginmanager.register(_Gathering(config.stash[_TABLE], config.stash[_NOTICES]))
    # Workers of one run share the seed of the process that started them.
    is_full = config.getoption("--faults") == "full"
    drawn = random.SystemRandom().randrange(2**31) if is_full else _BOUNDED_SEED
    config.stash[_SEED] = int(os.environ.setdefault("FLUXFORGE_SEED", str(drawn)))


class _Gathering:
    """Takes the rows out of the tests' reports, which also come from other processes."""

    def __init__(self, table: FaultTable, notices: NoticeTable) -> None:
        self._table = table
        self._notices = notices

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self._table.rows += [Row(**row) for name, row in report.user_properties if name == _ROW]
            self._notices.rows += [Notice(**row) for name, row in report.user_properties if name == _NOTICE]


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: {config.getoption('--faults')}, FLUXFORGE_SEED={config.stash[_SEED]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    seed, page = config.stash[_SEED], config.getoption("--faults-table")
    command = os.environ.get("FLUXFORGE_FAULTS_COMMAND") or shlex.join(["pytest", *sys.argv[1:]])
    table, notices = config.stash[_TABLE], config.stash[_NOTICES]
    for title, found in (("faults", table), ("connection faults", notices)):
        if found.rows:
            terminalreporter.section(f"{title} (FLUXFORGE_SEED={seed})")
            for line in found.lines():
                terminalreporter.write_line(line)
    if page and table.rows:
        table.write(page, command=command, seed=seed)
    if page and notices.rows:
        notices.write(page, facts=facts(command=command, seed=seed))


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


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Iterator[FaultTable]:
    """The rows of this test: `table.add(fault=..., runs=..., recoveries_s=[...])`."""
    found = FaultTable()
    yield found
    request.node.user_properties += [(_ROW, asdict(row)) for row in found.rows]


@pytest.fixture
def notices(request: pytest.FixtureRequest) -> Iterator[NoticeTable]:
    """The connection faults of this test: `notices.rows.append(Notice(...))`."""
    found = NoticeTable()
    yield found
    request.node.user_properties += [(_NOTICE, asdict(row)) for row in found.rows]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of the run; shown with whatever fails."""
    value = request.config.stash[_SEED]
    print(f"FLUXFORGE_SEED={value}")
    return value


@pytest.fixture
def full_run(is_full: bool) -> None:  # noqa: FBT001 - a fixture
    """Skip the test in a bounded run."""
    if not is_full:
        pytest.skip("takes long: --faults full runs it")
