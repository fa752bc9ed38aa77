"""What a process uses, read from outside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """Bytes in memory, open descriptors, threads."""

    memory: int
    descriptors: int
    threads: int


def usage(pid: int) -> Usage:
    """Of a process that is there; FileNotFoundError if it is not."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    memory = int(fields["VmRSS"].split()[0]) * 1024
    return Usage(memory, len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"]))
