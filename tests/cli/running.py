"""The command `fabric` as users run it: a process of its own, at a pipe or at a terminal."""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import orjson
import zmq

from fabric.config.address import parse_address
from fabric.protocol.events import encode_event, encode_event_head, encode_pack, encode_topic
from fabric.testing import DEADLINE, wait_until

FABRIC = (sys.executable, "-P", "-m", "cli.main")
#: Makes its stdin the terminal that Ctrl-C comes from, and becomes the command.
_AT_TERMINAL = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Command:
    """A running `fabric …`. Its output is collected in `out` and `err` (both in `out` at a terminal).

    `program`: run in place of the command `fabric`. `size`: columns and lines of the terminal.
    """

    def __init__(self, *arguments, program=FABRIC, terminal=False, stdin=subprocess.PIPE, env=None, size=(120, 40)):
        environment = {**os.environ, "TERM": "xterm", **(env or {})}
        command = [*program, *arguments]
        self.out = self.err = ""
        self._terminal = None
        if terminal:
            self._terminal, slave = os.openpty()
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
            self.process = subprocess.Popen(
                [sys.executable, "-c", _AT_TERMINAL, *command],
                stdin=slave, stdout=slave, stderr=slave, cwd="/", env=environment, start_new_session=True,
            )  # fmt: skip
            os.close(slave)
            self._open = {self._terminal: "out"}
        else:
            self.process = subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=environment
            )
            self._open = {self.process.stdout.fileno(): "out", self.process.stderr.fileno(): "err"}
        self._raw = {"out": b"", "err": b""}

    @property
    def pid(self):
        return self.process.pid

    @property
    def lines(self):
        """Complete lines of stdout."""
        return self.out.splitlines()[: self.out.count("\n")]

    def read(self, timeout=0.0, only=("out", "err")):
        """Collect its output, waiting up to `timeout` seconds."""
        watched = [descriptor for descriptor, name in self._open.items() if name in only]
        for descriptor in select.select(watched, [], [], timeout)[0]:
            name = self._open[descriptor]
            try:
                data = os.read(descriptor, 65_536)
            except OSError:  # a terminal whose other end was closed
                data = b""
            if not data:
                del self._open[descriptor]
            self._raw[name] += data
            setattr(self, name, self._raw[name].decode(errors="replace"))

    def wait_for(self, text, name="out", timeout=DEADLINE):
        """Read until `text` was printed."""
        return self.wait_until(lambda: text in getattr(self, name), timeout, f"{text!r} in {name}")

    def wait_until(self, condition, timeout=DEADLINE, what=""):
        """Read until `condition()`."""
        until = time.monotonic() + timeout
        while not (value := condition()):
            assert self._open, f"it ended before {what}:\n{self.out}\n{self.err}"
            assert time.monotonic() < until, f"not after {timeout} s: {what}\n{self.out}\n{self.err}"
            self.read(0.05)
        return value

    def end(self, timeout=DEADLINE):
        """Read until it ends; its exit status."""
        until = time.monotonic() + timeout
        while self._open:
            assert time.monotonic() < until, f"still running after {timeout} s:\n{self.out}\n{self.err}"
            self.read(0.05)
        return self.process.wait(timeout)

    def write(self, data):
        """To its stdin, or as typed."""
        if self._terminal is not None:
            os.write(self._terminal, data)
        else:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def resize(self, columns, lines):
        """Make its terminal another size."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def close_stdout(self):
        """Stop reading its stdout, as `| head` does."""
        descriptor = self.process.stdout.fileno()
        self.process.stdout.close()
        del self._open[descriptor]

    def hang_up(self):
        """Close the other end of its terminal."""
        os.close(self._terminal)
        self._terminal, self._open = None, {}

    def interrupt(self):
        """Ctrl-C, at a terminal as at a pipe; its exit status."""
        if self._terminal is not None:
            self.write(b"\x03")
        else:
            self.process.send_signal(signal.SIGINT)
        return self.end()

    def terminate(self):
        """SIGTERM; its exit status."""
        self.process.terminate()
        return self.end()

    def close(self):
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file is not None:
                try:
                    file.close()
                except BrokenPipeError:
                    pass
        if self._terminal is not None:
            os.close(self._terminal)


class Forger:
    """Publishes events that no node of ours would: with any number, any bytes."""

    def __init__(self, url, origin=b"forged!!"):
        self._origin = origin
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.linger = 1_000
        self._socket.connect(parse_address(url).events_in)

    def wait_for_subscriber(self, prefix):
        """Wait until `prefix` is subscribed."""
        while self._socket.poll(DEADLINE * 1_000):
            if self._socket.recv() == b"\x01" + prefix:
                return
        raise AssertionError(f"nobody subscribed {prefix!r}")

    def publish(self, topic, number, envelope):
        """One event; the envelope is JSON already if it is bytes."""
        text = envelope if isinstance(envelope, bytes) else orjson.dumps(envelope)
        pack = encode_pack([encode_event(encode_event_head(topic), number, text)])
        self._socket.send_multipart([encode_topic(topic, self._origin), pack])

    def close(self):
        self._context.destroy()


def endpoints(node):
    """The names of all endpoints that `node` can see."""
    return {each["endpoint"] for each in node.endpoints()}


def wait_for_rest(pid):
    """Until that process does nothing any more: its CPU time stands still."""
    seen = []

    def rests():
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        seen.append((int(fields[11]) + int(fields[12]), time.monotonic()))
        recent = [ticks for ticks, at in seen if at > seen[-1][1] - 0.3]
        return seen[-1][1] - seen[0][1] > 0.3 and len(set(recent)) == 1

    wait_until(rests, what=f"process {pid} rests")
