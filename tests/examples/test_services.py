"""The two services of docker-compose.yml as plain processes: with its environment, its commands, its health checks."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fabric.testing import wait_until
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()


def health_check(service):
    """The arguments after `fabric` of that service's health check."""
    block = re.search(rf"^  {service}:\n(.*?)(?=^  \w|^\w|\Z)", COMPOSE, re.MULTILINE | re.DOTALL)[1]
    return [word.strip('"') for word in re.search(r"test: \[CMD, fabric, (.*)\]", block)[1].split(", ")]


@pytest.fixture
def services():
    """A function that starts a process of the fabric at an address, with the environment of docker-compose.yml."""
    started = []

    def start(url, *command, **environment):
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=os.environ | {"FABRIC_URL": url, "FABRIC_AUTOSTART": "0", "PYTHONUNBUFFERED": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def stop(process):
    """Send SIGTERM, as `docker compose stop` does; its output. Fails if it does not end in the grace period."""
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=5)
    assert process.returncode == 0, text
    return text


@pytest.mark.parametrize("first", ["proxy", "services"])
def test_the_services_connect_answer_and_survive_a_restart_of_the_proxy(services, first):
    port = free_port()
    url = f"tcp://localhost:{port}"

    def start_proxy():
        return services(f"tcp://0.0.0.0:{port}", "-m", "cli", "proxy", FABRIC_INSECURE="1")

    def start_services():
        return [
            services(url, f"examples/{name}", INTERVAL="0.05") for name in ("meter_service.py", "report_service.py")
        ]

    def is_healthy(service):
        check = services(url, "-m", "cli", *health_check(service))
        text, _ = check.communicate(timeout=20)
        return text if check.returncode == 0 else ""

    if first == "proxy":
        proxy = start_proxy()
        meter, report = start_services()
    else:
        meter, report = start_services()
        proxy = start_proxy()
    wait_until(lambda: is_healthy("meter"), 20)
    wait_until(lambda: is_healthy("report"), 20)

    proxy.kill()
    proxy.communicate()
    if first == "proxy":  # once is enough: it takes the three seconds of a command's timeout
        assert not is_healthy("meter")
    proxy = start_proxy()
    answer = wait_until(lambda: is_healthy("report"), 20)
    facts = json.loads(answer[: answer.index("}") + 1])
    assert 0 <= facts["now"] <= 100
    before = facts["heard"]

    def goes_on():
        text = is_healthy("report")
        return text and json.loads(text[: text.index("}") + 1])["heard"] > before

    wait_until(goes_on, 20)  # readings after the restart are received
    assert re.search(r"sent \d+, unsent 0, dropped 0", stop(meter))
    assert "'cpu': " in stop(report)
    assert "ended: SIGTERM" in stop(proxy)
