"""A sender that is a program: exit status 0 is success, anything else a failure.

It has the delivery on its stdin as JSON, and as FABRIC_CHANNEL, FABRIC_PLATFORM, FABRIC_CHAT, FABRIC_TEXT, FABRIC_ID and
FABRIC_ATTEMPT in its environment: somebody else's words, never to be put into a shell's command line unquoted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import orjson

from fabric.routes.model import SENT, Delivery, Result
from fabric.system.run_program import environment, run

#: Bytes of its output, and characters of its errors that are told.
MAX_OUTPUT = 64 * 1024
MAX_TOLD = 200


class Program:
    """Called by a router, on any thread. argv, never a shell."""

    needs_chat = False

    def __init__(self, argv: Sequence[str]) -> None:
        """ValueError for no argv."""
        if isinstance(argv, str) or not argv or not all(isinstance(each, str) and each for each in argv[:1]):
            raise ValueError("a program is a list: itself, and its arguments")
        self._argv = tuple(argv)
        self.name = f"program {os.path.basename(argv[0])}"
        self._is_closed = False

    def __call__(self, delivery: Delivery) -> Result:
        """Run it."""
        facts = {key: value for key, value in delivery._asdict().items() if key not in ("messages", "timeout")}
        ran = run(
            self._argv,
            orjson.dumps(facts, default=str) + b"\n",
            environment({}, os.environ.get("FABRIC_URL", ""), facts),
            timeout=delivery.timeout,
            limit=MAX_OUTPUT,
            cancelled=lambda: self._is_closed,
        )
        if not ran.problem:
            return SENT
        said = ran.errors.decode(errors="replace").strip().rpartition("\n")[2][:MAX_TOLD]
        return Result(False, f"{ran.problem}: {said}" if said else ran.problem)

    def close(self) -> None:
        """End what runs of it."""
        self._is_closed = True
