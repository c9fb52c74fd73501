"""Recordings of protocols that ccxt does not speak, or not any more: they are refused by name, at once."""

import subprocess
import sys

import pytest

from tests.recorded.recordings import recording


@pytest.mark.parametrize(
    ("exchange", "name"),
    [
        ("bitget", "bitget/BITGET_v1_20220407.jsonl.zst"),
        ("bybit", "bybit/BYBIT_20250613_l1.jsonl.zst"),
        ("deribit", "deribit/DERIBIT_20210722.jsonl.zst"),
        ("gate", "gate/GATEIO_spot_20210422.jsonl.zst"),
        ("htx", "htx/HUOBI_20210417.jsonl.zst"),
        ("kraken", "kraken/KRAKEN_v1_20210417.jsonl.zst"),
        ("upbit", "upbit/UPBIT_20210417.jsonl.zst"),
    ],
)
def test_a_recording_that_ccxt_does_not_speak_is_refused_by_name(exchange: str, name: str) -> None:
    command = (sys.executable, "-m", "fluxforge_simulator", "--recording", recording(name), "--exchange", exchange)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert f"a recording of {exchange}" in ended.stderr
    assert "expected a recording of one of binance" in ended.stderr
