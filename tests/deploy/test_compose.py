"""Dockerfile and docker-compose.yml: valid, with files, commands and options that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def compose():
    """The command that understands compose files, or None."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and not subprocess.run([*command, "version"], capture_output=True, check=False).returncode
        ):
            return command
    return None


def test_the_compose_file_is_valid():
    if (command := compose()) is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is here")
    arguments = ["-f", str(ROOT / "docker-compose.yml"), "--profile", "tap", "config"]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    services = result.stdout.partition("\nservices:\n")[2]
    assert {"proxy", "meter", "report", "tap"} <= set(re.findall(r"^  (\w+):$", services, re.MULTILINE))
    for each in (
        "read_only: true",
        "healthcheck:",
        "no-new-privileges:true",
        "mem_limit:",
        "pids_limit:",
        "init: true",
    ):
        assert services.count(each) == 4, each


def lists(text):
    """Every JSON-like list of words that begins with a program of ours."""
    for found in re.findall(r"\[((?:CMD, )?fabric, [^\]]*)\]", text.replace('"', "")):
        yield found.removeprefix("CMD, ").split(", ")


@pytest.mark.parametrize("words", [*lists(COMPOSE), *lists(DOCKERFILE)], ids=" ".join)
def test_each_command_and_its_options_are_there(words):
    assert words[1] in COMMANDS
    shown = subprocess.run(
        [sys.executable, "-m", "cli", words[1], "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert [word for word in words if word.startswith("--") and word not in shown.stdout] == []


def test_the_health_of_the_image_is_a_probe_through_both_planes():
    assert 'CMD ["fabric", "check", "--timeout", "3"]' in DOCKERFILE


@pytest.mark.parametrize("name", re.findall(r"/opt/event-fabric/(examples/\w+\.py)", COMPOSE))
def test_each_example_that_is_run_is_there_and_in_the_image(name):
    assert (ROOT / name).is_file()
    assert "COPY examples /opt/event-fabric/examples" in DOCKERFILE


def test_copied_files_exist_and_are_not_ignored():
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]
    assert {name for names in copied for name in names} == let_through
    assert all((ROOT / name).exists() for name in let_through)


def test_the_image_runs_as_a_user_of_its_own_which_compose_names_too():
    [user] = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user == "10001:10001"
    assert f'user: "{user}"' in COMPOSE


def test_the_last_stage_installs_nothing():
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert not re.search(r"\b(pip|apt|apt-get|curl)\b", last)


def test_an_open_address_is_enabled_in_the_compose_file_and_not_in_the_image():
    assert "FABRIC_INSECURE=" not in DOCKERFILE
    assert 'FABRIC_INSECURE: "1"' in COMPOSE
    assert "internal: true" in COMPOSE
    assert "ports:" not in COMPOSE
