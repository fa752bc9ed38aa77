"""The second machine: a cable that can be pulled."""

import subprocess
import sys

import pytest

from tests.chaos import network

TALK = """
import socket, subprocess, sys
sys.path.insert(0, {root!r})
from tests.chaos.network import HERE, Far

far = Far()
listener = socket.create_server((HERE, 7999))
echo = "import socket, sys; s = socket.create_connection((sys.argv[1], 7999)); [s.sendall(s.recv(9)) for _ in range(2)]"
child = subprocess.Popen([*far.prefix, sys.executable, "-c", echo, HERE])
there, _ = listener.accept()
there.settimeout(10)
there.sendall(b"one")
assert there.recv(9) == b"one"
far.cut()
there.sendall(b"two")
there.settimeout(0.5)
try:
    raise AssertionError(there.recv(9))
except TimeoutError:
    pass
far.heal()
there.settimeout(10)
assert there.recv(9) == b"two"
child.wait(10)
far.close()
"""


@pytest.mark.skipif(not network.is_available(), reason="this machine lets us have no private network")
def test_what_is_sent_while_the_cable_is_out_arrives_when_it_is_back(pytestconfig):
    command, environment = network.privately(sys.executable, "-c", TALK.format(root=str(pytestconfig.rootpath)))
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_machines_own_network_is_left_alone():
    with pytest.raises(RuntimeError, match="private network"):
        network.Far()
