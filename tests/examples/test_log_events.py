"""The example about logging runs, and the watcher receives the records that it subscribed to, and no others."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_watcher_receives_records_of_the_till_and_all_errors(shared_proxy, monkeypatch):
    monkeypatch.setenv("FABRIC_URL", shared_proxy.url)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "log_events.py")], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        "shop log.info.shop.till sold an apple {'price': 2}",
        "shop log.error.shop.stock no such fruit",
        "     KeyError: 'durian'",
    ]
