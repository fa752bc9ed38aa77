"""The long row of a network that is cut: between two namespaces, over tcp, without a FIN."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.rows import FULL, full, record, row
from tests.chaos import network

CUTTING = Path(__file__).parent / "cutting.py"
#: Seconds after which both ends have noticed, at the latest; what is cut for less may not be noticed at all.
NOTICED = 15.0


@row("cut")
@pytest.mark.skipif(not network.is_available(), reason="this machine lets us have no private network")
def test_a_network_that_was_cut_and_healed():
    lengths = full(["1.5"], ["4", "8", "12", "30", "60"])
    command, environment = network.privately(sys.executable, str(CUTTING), *lengths)
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    for cut in found["cuts"]:
        record(
            "cut",
            f"network cut for {cut['seconds']:g} s without a FIN",
            "noticed ≤ 15 s at both ends, back ≤ 3 s after healing" if cut["seconds"] >= 12 else "back ≤ 7 s",
            **{name: value and round(value, 2) for name, value in cut.items() if name != "seconds"},
            missed=found["rows"]["plain"]["missed"],
            recovering_missed=found["rows"]["recovering"]["missed"],
        )
    for cut in found["cuts"] if FULL else ():
        if cut["seconds"] >= 12:
            assert cut["back"] <= 3.0, cut
        else:
            assert cut["back"] <= 7.0, cut
        if cut["seconds"] > NOTICED + 1:
            assert cut["far_noticed"] <= NOTICED, cut
            assert cut["proxy_noticed"] <= NOTICED + 1.0, cut  # it looks twice a second
