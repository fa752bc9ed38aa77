"""What all tests share: a place of their own for the embedded default, and a look at what they left running."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fabric.testing import ProxyProcess, wait_until
from tests.processes import children_of, mentioning, take_default_signals

# A run in the background tests what a run at a terminal does.
take_default_signals()

# A busy machine is not a slow generator; and CI tries the same examples each time, so that it fails for what changed.
settings.register_profile(
    "fabric", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("fabric")

#: Tests that start processes, which `make test-fast` leaves out: by fixture, by folder, by a word in the module.
_PROCESS_FIXTURES = {"shared_proxy", "fabric_proxy", "program", "start"}
_PROCESS_FOLDERS = ("benchmarks", "chaos", "cli/commands", "deploy", "examples", "fuzz", "proxy/health", "system")
_PROCESS_WORDS = ("ProxyProcess", "subprocess", "daemon")


def pytest_collection_modifyitems(items):
    """Mark the tests that start processes of their own."""
    root = Path(__file__).parent
    folders = tuple(str(root / folder) + os.sep for folder in _PROCESS_FOLDERS)
    starting = {path: _starts_processes(path, folders) for path in {item.path for item in items}}
    for item in items:
        if starting[item.path] or _PROCESS_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("processes")


def _starts_processes(path, folders):
    text = path.read_text()
    return str(path).startswith(folders) or any(word in text for word in _PROCESS_WORDS)


#: Session fixtures that own processes are gone before the look at what is left, because they are made after this.
_OURS = ("fabric-",)


@pytest.fixture(scope="session", autouse=True)
def runtime_dir():
    """Tests never meet the proxy of whoever runs them, and leave nothing behind: no process, no thread, no socket."""
    with pytest.MonkeyPatch.context() as patch:
        # Not below pytest's own directory: a socket's address is 107 bytes at most.
        directory = Path(tempfile.mkdtemp(prefix="fabric-tests-"))
        for name in [name for name in os.environ if name.startswith("FABRIC_")]:
            patch.delenv(name)
        patch.setenv("FABRIC_RUNTIME_DIR", str(directory))
        patch.setenv("XDG_CONFIG_HOME", str(directory / "config"))
        yield directory
        wait_until(lambda: not children_of(os.getpid()), what="child processes end")
        wait_until(lambda: not mentioning(directory), what="proxies in the background end")
        left = [str(path) for path in directory.rglob("*") if path.is_socket()]
        shutil.rmtree(directory)
        assert not left, f"sockets left behind: {left}"


@pytest.fixture(autouse=True)
def no_thread_left(runtime_dir):
    """A node that a test forgot to close shows at that test."""
    before = set(threading.enumerate())
    yield
    wait_until(lambda: not _threads_since(before), what="threads of the fabric end")


@pytest.fixture(scope="session")
def shared_proxy(runtime_dir):
    """One proxy for all tests that do it no harm; their nodes go when they end."""
    with ProxyProcess() as proxy:
        yield proxy


@pytest.fixture
def node(fabric_node, shared_proxy):
    """A function that makes nodes at the shared proxy; see `fabric_node`."""

    def make(name=None, **options):
        return fabric_node(name, **{"url": shared_proxy.url, **options})

    return make


@pytest.fixture
def lonely_url():
    """An address where there is no proxy."""
    directory = tempfile.mkdtemp(prefix="fabric-")
    yield f"ipc://{directory}/nobody"
    shutil.rmtree(directory)


def _threads_since(before):
    return [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith(_OURS)]
