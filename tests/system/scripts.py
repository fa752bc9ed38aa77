"""Programs written inside a test: run to their end, or told to go on at the points where they say so."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

#: `url` is the proxy's, `bus` a bus of the program's own. A program that hangs says where, and is killed.
PREAMBLE = """
import faulthandler, os, signal, sys, threading, time
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm(20)
import fabric
from fabric.testing import wait_until
url = sys.argv[1]
bus = fabric.Bus()
"""


class Script:
    """A running program that says a line when it is ready for what comes next. Leaving it kills it and its children."""

    def __init__(self, code, url, *, path=None):
        text = PREAMBLE + textwrap.dedent(code)
        if path is not None:
            path.write_text(text)
        program = ["-c", text] if path is None else [str(path)]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *program, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self):
        """The next line it says."""
        return self.process.stdout.readline().rstrip("\n")

    def go_on(self):
        """Let it go on from `sys.stdin.readline()`."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, timeout=25):
        """Wait for its end: (status, stdout, stderr)."""
        output, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, output, errors

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its children, too
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(BrokenPipeError):
                pipe.close()


def run(code, url, *, path=None, timeout=25):
    """Run a program to its end: (status, stdout, stderr)."""
    with Script(code, url, path=path) as script:
        return script.end(timeout)
