"""`fabric doctor` with real problems: other packages of our names, rights, proxies that are stopped or killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys

import orjson
import pytest

from cli.doctor.findings import OK, WARNING, WRONG, Finding
from cli.doctor.installation import ROOT
from cli.main import run
from fabric.config.address import parse_address
from fabric.testing import ProxyProcess, wait_until
from proxy import client
from tests.cli.running import FABRIC


@pytest.fixture
def doctor(start):
    """A function that runs `fabric doctor --json` as a process of its own: exit code, and findings."""

    def run_doctor(*options, **how):
        command = start("doctor", "--json", *options, **how)
        status = command.end()
        assert command.err == ""
        return status, [Finding(**each) for each in orjson.loads(command.out)["findings"]]

    return run_doctor


@pytest.fixture
def place(runtime_dir):
    """A directory of the test's own for the embedded default."""
    path = runtime_dir / f"d{os.urandom(3).hex()}"
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(path)


def bad(found, level=WRONG):
    return [each for each in found if each.level == level]


# All is well


def test_where_all_is_well_everything_is_looked_at_and_nothing_is_wrong(fabric_proxy, start):
    command = start("doctor", "--url", fabric_proxy.url)
    assert command.end() == 0
    whats = [line.split()[1] for line in command.out.splitlines() if line.startswith("ok ")]
    assert {"packages", "settings", "address", "directory", "proxy", "versions", "clocks", "round", "limits"} <= set(
        whats
    )
    assert command.out.splitlines()[-1] == "nothing is wrong"


def test_nothing_is_started_and_nothing_made(doctor, place):
    status, found = doctor(env={"FABRIC_RUNTIME_DIR": str(place)})
    assert (status, bad(found)) == (0, [])
    assert any("one is started when it is needed" in each.text for each in found)
    assert list(place.iterdir()) == []


# Packages


@pytest.mark.parametrize("name", ["fabric", "proxy"])
def test_another_package_of_our_name_is_found_and_does_not_stop_it(name, doctor, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise ImportError('another package altogether')")
    status, found = doctor(env={"PYTHONPATH": str(tmp_path)})
    assert status == 1
    (problem,) = bad(found)
    assert problem.what == "packages"
    assert problem.text == f"{name!r} is imported from {tmp_path / name / '__init__.py'}, which is not ours"
    assert problem.fix == f"take {tmp_path} out of PYTHONPATH"


def test_it_imports_nothing_of_the_fabric_before_it_has_looked():
    program = (
        "import sys, cli.commands.operating.doctor; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert b"'cli'" in done.stdout
    assert not {b"'fabric'", b"'proxy'", b"'zmq'"} & set(done.stdout.strip(b"[]\n").split(b", "))


def test_other_commands_say_where_to_look_when_another_package_is_in_the_way(tmp_path):
    (tmp_path / "fabric.py").write_text("")
    done = subprocess.run(
        [*FABRIC, "ls"], env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd="/", capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"fabric doctor" in done.stderr


# Settings, address, directory


def test_every_mistake_in_the_settings_is_reported_with_its_place(doctor, tmp_path):
    path = tmp_path / "fabric.toml"
    path.write_text("[fabric]\nmax_byte = 5\n\n[proxy]\nsettle = 'long'\n")
    status, found = doctor(env={"FABRIC_CONFIG": str(path), "FABRIC_AUTOSTRAT": "0"})
    assert status == 1
    texts = [each.text for each in bad(found)]
    assert [text.partition(":2)")[0] for text in texts if "max_byte" in text] == [f"max_byte (from {path}"]
    assert any(f"settle (from {path}:5)" in text for text in texts)
    (unknown,) = bad(found, WARNING)
    assert unknown.text == "the variable FABRIC_AUTOSTRAT is no setting; did you mean FABRIC_AUTOSTART?"


def test_an_address_that_is_none_is_wrong_and_the_rest_is_still_looked_at(doctor):
    status, found = doctor("--url", "http://example")
    assert status == 1
    assert "no such kind of address" in bad(found)[0].text
    assert {"packages", "limits"} <= {each.what for each in found}


def test_it_reports_the_source_of_the_address(doctor, fabric_proxy):
    _, found = doctor(env={"FABRIC_URL": fabric_proxy.url})
    assert Finding(OK, "address", f"{fabric_proxy.url}, from FABRIC_URL") in found
    _, found = doctor("--url", fabric_proxy.url)
    assert Finding(OK, "address", f"{fabric_proxy.url}, from --url") in found


def test_a_directory_that_is_open_to_others_is_wrong(doctor, place):
    (place / "fabric").mkdir()
    (place / "fabric").chmod(0o755)
    status, found = doctor(env={"FABRIC_RUNTIME_DIR": str(place)})
    assert status == 1
    assert bad(found) == [
        Finding(
            WRONG,
            "directory",
            f"{place / 'fabric'} is open to others (mode 0755): no proxy starts there",
            f"chmod 700 {place / 'fabric'}",
        )
    ]


# No answer


def test_at_an_address_that_was_named_there_must_be_a_proxy(doctor, lonely_url):
    status, found = doctor("--url", lonely_url)
    assert status == 1
    (problem,) = bad(found)
    assert problem.text == f"no proxy is running at {lonely_url}, from --url"
    assert problem.fix.startswith(f"fabric proxy start --url {lonely_url}")


def test_without_autostart_there_must_be_one_at_the_embedded_default_too(doctor, place):
    status, found = doctor(env={"FABRIC_RUNTIME_DIR": str(place), "FABRIC_AUTOSTART": "0"})
    assert status == 1
    assert "autostart is off" in bad(found)[0].text


def test_a_proxy_that_was_stopped_is_named_with_what_continues_it(doctor, fabric_proxy):
    fabric_proxy.signal(signal.SIGSTOP)
    status, found = doctor("--url", fabric_proxy.url, "--timeout", "0.3")
    fabric_proxy.signal(signal.SIGCONT)
    assert status == 1
    (problem,) = bad(found)
    assert f"its process {fabric_proxy.pid} was stopped" in problem.text
    assert problem.fix == f"kill -CONT {fabric_proxy.pid}"


def test_sockets_that_a_killed_proxy_left_are_a_warning(doctor, fabric_proxy):
    fabric_proxy.kill()
    status, found = doctor("--url", fabric_proxy.url)
    assert status == 1  # the address was given
    (left,) = bad(found, WARNING)
    assert left.text == "a proxy was killed here, and left 3 sockets behind: messages, events-in, events-out"


def test_the_holder_of_a_lock_without_a_proxy_is_reported(doctor, place):
    directory = place / "fabric"
    directory.mkdir(mode=0o700)
    (directory / "proxy.lock").write_text("pid 4242 on elsewhere\n")
    hold = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(directory / "proxy.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        status, found = doctor(env={"FABRIC_RUNTIME_DIR": str(place)})
    assert status == 0
    assert "its lock is held by pid 4242 on elsewhere" in bad(found, WARNING)[0].text


def test_another_program_at_the_address_is_wrong(doctor):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = min(other.getsockname()[1], 65_533)
        status, found = doctor("--url", f"tcp://127.0.0.1:{port}", "--timeout", "0.2")
    assert status == 1
    assert "or it is no proxy" in bad(found)[0].text


def test_a_second_proxy_at_the_embedded_default_is_a_warning(doctor, fabric_proxy, place):
    with ProxyProcess(f"ipc://{place}/fabric") as second:
        status, found = doctor("--url", fabric_proxy.url, env={"FABRIC_RUNTIME_DIR": str(place)})
        assert status == 0
        (two,) = bad(found, WARNING)
        assert two.what == "two proxies"
        assert f"pid {second.pid}" in two.text
        assert f"fabric proxy stop --url {second.url}" in two.fix
        second.stop()


# A proxy that answers


def test_what_was_lost_is_a_warning_that_names_the_node_and_a_way_out(doctor, fabric_node):
    with ProxyProcess(timeout=0.6) as proxy:
        node = fabric_node("careless", url=proxy.url)
        other = fabric_node("other", url=proxy.url)
        other.subscribe("**", print).wait_ready(everyone=True)
        node.publish("a.b", {"x": object()})
        wait_until(lambda: client.stats(parse_address(proxy.url)).lost == 1)
        status, found = doctor("--url", proxy.url)
        node.close()
        other.close()
    assert status == 0
    (lost,) = bad(found, WARNING)
    assert lost.what == "lost"
    assert lost.text.startswith("1 event ")
    assert "careless 1" in lost.text
    assert "JSON" in lost.fix


def test_its_help_needs_no_proxy(capsys):
    assert run(["doctor", "--help"]) == 0
    assert "Examples:" in capsys.readouterr().out
