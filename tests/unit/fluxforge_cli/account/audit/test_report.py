import io

import orjson
from rich.console import Console

from fluxforge_cli.account.audit.boots import Boot, End, Hole
from fluxforge_cli.account.audit.close import Audit, LaneAccount
from fluxforge_cli.account.audit.findings import FeedId, Finding, Kind, of_ranges
from fluxforge_cli.account.audit.report import line, print_audit, to_json

LANE = LaneAccount(
    "ccxt-binance-0of1",
    rescue=("ccxt-binance-0of1rb1",),
    boots=(Boot("b1", End.CRASHED), Boot("b2", End.RUNNING)),
    holes=(
        Hole("crash", "ccxt-binance-0of1", 1_500_000_000, None, boot="b1"),
        Hole("lost", "ccxt-binance-0of1", 1, 2, epoch=3, first=4, last=5),
    ),
    feeds=2,
    captured=1200,
    sealed=1100,
    lost=7,
)
MISSING = tuple(of_ranges(Kind.MISSING, "ccxt-binance-0of1", FeedId("b1", "trades", "A-B"), ((3, 9), (12, 12)), "why"))


def printed(audit: Audit) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_audit(console, audit)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_people_read_a_table_and_the_verdict() -> None:
    text = printed(Audit((LANE,), (), bus=True, spool=True))
    assert "ccxt-binance-0of1 + 1 rescue  1 crashed, 1 running" in text
    assert "1,200" in text
    assert "lost" in text
    assert "quarantined" in text
    assert "dead" not in text
    assert "crash of boot b1, 1970-01-01T00:00:01.500000000Z to ?" in text
    assert "messages 4-5 of epoch 3" in text
    assert text.splitlines()[-1] == "balanced"
    assert "bus" not in text


def test_every_finding_is_a_line_with_its_range() -> None:
    audit = Audit((LANE,), (*MISSING, Finding(Kind.PART_UNKNOWN, None, "x")), bus=False, spool=False)
    lines = printed(audit).splitlines()
    assert "missing ccxt-binance-0of1 boot b1 trades A-B 3-9: why" in lines
    assert "missing ccxt-binance-0of1 boot b1 trades A-B 12: why" in lines
    assert "part_unknown: x" in lines
    assert "The bus does not answer: what is not sealed was not looked at." in lines
    assert lines[-1] == "3 findings"


def test_a_control_record_has_no_symbol() -> None:
    (finding,) = of_ranges(Kind.DOUBLED, "l", FeedId("b1", "control", None), ((1, 2),), "why")
    assert line(finding) == "doubled l boot b1 control 1-2: why"


def test_scripts_read_an_object() -> None:
    found = orjson.loads(to_json(Audit((LANE, LANE), MISSING, bus=True, spool=False, explained={"crash": 4})))
    assert found["balanced"] is False
    assert found["looked_at"] == {"bus": True, "spool": False}
    assert found["findings"][0] == {
        "kind": "missing",
        "lane": "ccxt-binance-0of1",
        "boot": "b1",
        "channel": "trades",
        "symbol": "A-B",
        "first": 3,
        "last": 9,
        "detail": "why",
    }
    totals = found["totals"]
    assert (totals["captured"], totals["boots"], totals["holes"]) == (2400, 4, 4)
    assert totals["findings"]["missing"] == 2
    assert set(totals["findings"]) == {kind.value for kind in Kind}
    assert totals["explained"] == {"crash": 4}
    assert found["lanes"][0]["boots"][0] == {"boot": "b1", "end": "crashed"}
    assert found["lanes"][0]["holes"][1]["first"] == 4
