"""Freezes single threads of another process, as if a plane hung. Linux only, with ptrace."""

import ctypes
import os
import threading

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

#: Runs a proxy at the address of its argument as `python -m proxy` does, and prints the kernel's number of each of its
#: threads when it serves.
RUNNER = """
import sys, threading
from proxy.__main__ import run
def report(word):
    print({thread.name: thread.native_id for thread in threading.enumerate()}, flush=True)
sys.exit(run({"url": sys.argv[1], "settle": 0.0}, report=report))
"""


class Frozen:
    """One thread, frozen until `thaw`. The ptracer is a thread, not a process, so one thread of ours does both."""

    def __init__(self, thread_id):
        self._id = thread_id
        self._held, self._thaw = threading.Event(), threading.Event()
        self.error = 0
        self._thread = threading.Thread(target=self._hold)
        self._thread.start()
        self._held.wait()
        if self.error:
            self._thread.join()
            raise PermissionError(self.error, os.strerror(self.error))

    def _ptrace(self, request):
        if self._ptrace_call(ctypes.c_long(request), ctypes.c_long(self._id), None, None) < 0:
            self.error = ctypes.get_errno()
        return not self.error

    def _hold(self):
        self._ptrace_call = ctypes.CDLL(None, use_errno=True).ptrace
        self._ptrace_call.restype = ctypes.c_long
        if not (self._ptrace(SEIZE) and self._ptrace(INTERRUPT)):
            self._held.set()
            return
        os.waitpid(self._id, 0x40000000)  # __WALL: until the thread has stopped
        self._held.set()
        self._thaw.wait()
        self._ptrace(DETACH)

    def thaw(self):
        """Continue the thread."""
        self._thaw.set()
        self._thread.join()
