import subprocess
import sys

import orjson


def test_the_simulator_ends_in_order_when_its_parent_is_gone():
    command = [sys.executable, "-m", "fluxforge_simulator", "--parent-pipe"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert orjson.loads(process.stdout.readline())["port"] > 0
        process.stdin.close()
        assert process.wait(timeout=60) == 0
