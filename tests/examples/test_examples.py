"""Every example runs as its docstring says, and uses public names only."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fabric

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def run(shared_proxy, tmp_path):
    """A function that starts an example with a proxy of the tests; it is ended after the test."""
    started = []

    def start(name, **environment):
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "FABRIC_URL": shared_proxy.url, **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_local_bus_ships_its_stock_and_survives_a_broken_subscriber(run):
    out, err = run("local_bus.py").communicate(timeout=30)
    assert out.splitlines() == [
        "order.placed {'fruit': 'apple'}",
        "order.shipped {'fruit': 'apple', 'left': 2}",
        "order.placed {'fruit': 'pear'}",
        "order.refused {'fruit': 'pear', 'why': 'none left'}",
        "order.placed {'fruit': 'durian'}",
        "order.refused {'fruit': 'durian', 'why': 'none left'}",
    ]
    assert "not in this shop" in err


def test_two_processes_receive_each_others_events(run):
    example = run("two_processes.py")
    out, err = example.communicate(timeout=30)
    assert out.splitlines()[-2:] == [
        "thermometer: heard heating.on from thermostat",
        "thermometer: heard heating.off from thermostat",
    ]
    assert (example.returncode, err) == (0, "")


def test_asyncio_service_runs_several_jobs_at_once_and_stops(run, shared_proxy, fabric_node):
    example = run("asyncio_service.py")
    assert example.stdout.readline() == "ready\n"
    node = fabric_node("customer", url=shared_proxy.url)
    for name, seconds in (("tea", 0.3), ("water", 0)):
        node.publish("job.submit", {"name": name, "seconds": seconds})
    lines = []
    while "job.finished tea\n" not in lines:
        lines.append(example.stdout.readline())
    assert lines.index("job.started water\n") < lines.index("job.finished tea\n")
    node.publish("job.stop")
    out, err = example.communicate(timeout=30)
    assert out.splitlines()[-1].strip() == "job.stop"
    assert (example.returncode, err) == (0, "")


def test_system_watch_prints_readings_until_ctrl_c(run):
    example = run("system_watch.py", INTERVAL="0.1")
    seen = set()
    while not {"watch.cpu", "watch.memory"} <= seen:
        event = ast.literal_eval(example.stdout.readline())
        seen.add(event["type"])
        if event["type"] in ("watch.cpu", "watch.memory"):
            assert 0 <= event["percent"] <= 100
    example.send_signal(signal.SIGINT)
    _, err = example.communicate(timeout=30)
    assert (example.returncode, err) == (0, "")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_uses_public_names_only_says_how_to_run_it_and_is_tested_here(path):
    tree = ast.parse(path.read_text())
    assert f"python examples/{path.name}" in ast.get_docstring(tree)
    assert any(f'"{path.name}"' in tests.read_text() for tests in Path(__file__).parent.glob("test_*.py"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert all(name == "fabric" or name.partition(".")[0] in sys.stdlib_module_names for name in names)
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")
            if isinstance(node.value, ast.Name) and node.value.id == "fabric":
                assert node.attr in fabric.__all__
