"""A second machine, as far as the network goes: behind a switch, where its cable can be pulled. Nobody sees a FIN.

    here ── 10.97.0.1 ══ veth ══ bridge ══ veth ══ 10.97.0.2 ── far        `cut` takes the far port out of the bridge

Both ends keep their interface, carrier and route, and what they send is lost on the way, as behind a real switch: a queue
that drops locally would be told to TCP, which then does not count what it sends in vain.

Made inside a private network (`unshare --net`, with a user namespace where we are not root): the machine's own network is
not touched, no two runs meet, and it is all gone when the last process is.
"""

from __future__ import annotations

import os
import subprocess
import sys

HERE, FAR = "10.97.0.1", "10.97.0.2"
_PRIVATE = "FABRIC_TEST_PRIVATE_NETWORK"
#: Tried before anything relies on it: a private network, and a cable in it.
_TRIAL = "ip link set lo up && ip link add trial type veth peer name trial-far && ip link add switch type bridge"


def is_available():
    """Whether this machine lets us have private networks."""
    try:
        result = subprocess.run([*_unshare(), "sh", "-c", _TRIAL], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def is_private():
    """Whether this process is in a private network."""
    return _PRIVATE in os.environ


def privately(*command):
    """What runs `command` in a private network: (arguments, environment)."""
    return [*_unshare(), *command], os.environ | {_PRIVATE: "1"}


def _unshare():
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]


class Far:
    """The other machine. Only in a private network; `prefix` runs a command there."""

    def __init__(self):
        if not is_private():
            raise RuntimeError("only in a private network: the machine's own is not ours to change")
        _run("ip", "link", "set", "lo", "up")
        # It holds the namespace, and is gone with us: its input ends.
        self._holder = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._holder.stdout.readline()
        self.prefix = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]
        _run("ip", "link", "add", "switch", "type", "bridge")
        _run("ip", "link", "add", "near", "type", "veth", "peer", "name", "near-port")
        _run("ip", "link", "add", "far-port", "type", "veth", "peer", "name", "far", "netns", str(self._holder.pid))
        for port in ("near-port", "far-port"):
            _run("ip", "link", "set", port, "master", "switch")
        for name in ("switch", "near-port", "far-port", "near"):
            _run("ip", "link", "set", name, "up")
        _run("ip", "address", "add", f"{HERE}/30", "dev", "near")
        for arguments in (("address", "add", f"{FAR}/30", "dev", "far"), ("link", "set", "far", "up")):
            _run(*self.prefix, "ip", *arguments)

    def cut(self):
        """Whatever is sent is lost from now on; neither end is told."""
        _run("ip", "link", "set", "far-port", "nomaster")

    def heal(self):
        """As it was."""
        _run("ip", "link", "set", "far-port", "master", "switch")

    def close(self):
        """The cable and the namespace are gone."""
        self._holder.kill()
        self._holder.wait()
        self._holder.stdin.close()
        self._holder.stdout.close()


def _run(*command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
