"""Hooks: programs that run after a message was routed.

    MessagePlane ──routed──▸ put ──▸ a WorkerPool for each hook ──▸ `fabric.system.run_program.run`
     (its thread)            O(1)    oldest dropped when full

A hook gets the message as JSON on its stdin,

    {"type": "message", "id", "to", "from", "ts", "body", "holders", "request"}

and its facts in the environment (see `fabric.system.message_environment.environment`). It cannot change what happens to the
message: that was passed on to `holders` holders before, which may still refuse it. Nor does it delay a message: messages
wait for a hook in a queue of its own, and when that is full, the oldest is dropped and counted.

    routed                       runs hooks
    a message, a request         once; `request` tells which. An answer is not a message and runs none.
    a broadcast (`to` is "*")    once, also without a holder (`holders` is 0)
    the same message again       no: after a reconnect senders repeat what was not acknowledged. Only a proxy that was
                                 itself restarted in between does not know the id, and runs the hooks twice.
    a refused message            no

With several threads (`hook_concurrency`) programs may end in another order than the messages came; with one they do not.
A hook that sends messages triggers hooks itself: it must check FABRIC_FROM or FABRIC_TO, or it never ends.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from time import monotonic
from typing import Any

import orjson

from fabric.system.message_environment import environment
from fabric.system.run_program import GRACE, run
from fabric.system.worker_pool import Job, WorkerPool
from proxy.messages.routing import Routed
from proxy.settings import Argv

logger = logging.getLogger("fabric.proxy")

#: Bytes of bodies that may wait for one hook; one body can have 10 MiB.
MAX_QUEUED_BYTES = 64 * 1024 * 1024
#: Ids remembered, so that a repeated message runs no hook again.
MAX_IDS = 10_000
#: Bytes of a hook's output that are kept and logged.
MAX_OUTPUT = 2_000
_COUNTED = ("done", "failed", "timed_out", "dropped", "queued", "running")


class Hooks:
    """All hooks of a proxy. `put` never waits for a program; `stop` waits for their end, at most 3 × `GRACE` seconds."""

    def __init__(
        self,
        hooks: Sequence[Argv],
        *,
        url: str,
        timeout: float,
        concurrency: int,
        queue: int,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        max_ids: int = MAX_IDS,
    ) -> None:
        self._hooks = [_Hook(argv, url, timeout, concurrency, queue, max_queued_bytes) for argv in hooks]
        self._max_ids = max_ids
        self._seen: OrderedDict[tuple[bytes, bytes, bytes], None] = OrderedDict()
        self._repeated = 0

    def start(self) -> None:
        """Start the threads of all hooks."""
        for hook in self._hooks:
            hook.pool.start()

    def put(self, message: Routed) -> None:
        """A message was routed. O(1). One thread at a time."""
        key = (message.sender, message.to, message.id)
        if key in self._seen:
            self._repeated += 1
            return
        self._seen[key] = None
        if len(self._seen) > self._max_ids:
            self._seen.popitem(last=False)
        for hook in self._hooks:
            hook.put(message)

    def stop(self) -> None:
        """Drop and count the queued messages, end the running programs, and wait for the threads."""
        for hook in self._hooks:
            hook.pool.close()
        until = monotonic() + 3 * GRACE  # longer than `run` takes to end a program; the threads are daemons
        for hook in self._hooks:
            hook.pool.join(until)
        if dropped := self.stats()["dropped"]:
            logger.warning("%d messages ran no hook: they came faster than hooks ended", dropped)

    def stats(self) -> dict[str, int]:
        """Counts over all hooks."""
        counts = [hook.stats() for hook in self._hooks]
        return {**{name: sum(count[name] for count in counts) for name in _COUNTED}, "repeated": self._repeated}


class _Hook:
    """One program, its queue and its threads. A program that hangs blocks only its own queue."""

    def __init__(
        self, argv: Argv, url: str, timeout: float, concurrency: int, queue: int, max_queued_bytes: int
    ) -> None:
        self.pool = WorkerPool(
            f"proxy-hook-{os.path.basename(argv[0])}",
            limit=max(queue, 1),
            concurrency=max(concurrency, 1),
            max_bytes=max_queued_bytes,
            idle_timeout=None,
        )
        self._argv = argv
        self._url = url
        self._timeout = timeout
        self._lock = threading.Lock()  # around the counts
        self._counts = dict.fromkeys(("done", "failed", "timed_out", "dropped"), 0)

    def put(self, message: Routed) -> None:
        self.pool.put(Job(lambda: self._work(message), lambda: self._count("dropped"), len(message.body)))

    def stats(self) -> dict[str, int]:
        pool = self.pool.stats()
        return {**self._counts, "queued": pool["waiting"], "running": pool["running"]}

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._counts[outcome] += 1

    # On the threads of the pool

    def _work(self, message: Routed) -> None:
        outcome = "failed"
        try:
            outcome = self._run(message)
        except Exception:
            logger.exception("the hook %s failed on message %r", self._argv[0], message.id)
        finally:
            self._count(outcome)

    def _run(self, message: Routed) -> str:
        try:
            facts = _facts(message)
        except ValueError as error:  # its holder cannot read it, either
            logger.warning("the hook %s was not run on message %r: %s", self._argv[0], message.id, error)
            return "failed"
        try:
            ran = run(
                self._argv,
                _encode(facts, message.body),
                environment(facts, self._url),
                timeout=self._timeout,
                limit=MAX_OUTPUT,
                directory="/",
                cancelled=lambda: self.pool.closing,
            )
        except OSError as error:
            logger.warning("the hook %s cannot be run: %s", self._argv[0], error.strerror)
            return "failed"
        said = (ran.output + ran.errors)[:MAX_OUTPUT].decode(errors="backslashreplace").strip()
        said = f"; it said {said!r}{' …' if ran.cut else ''}" if said else ""
        if ran.problem:
            logger.warning("the hook %s %s on message %r%s", self._argv[0], ran.problem, facts["id"], said)
        elif said:
            logger.info("the hook %s ran on message %r%s", self._argv[0], facts["id"], said)
        return "timed_out" if ran.timed_out else "failed" if ran.problem else "done"


def _facts(message: Routed) -> dict[str, Any]:
    """The message for a hook. ValueError if meta or body, which the proxy does not check, are not as nodes write them."""
    meta = orjson.loads(message.meta)
    if not isinstance(meta, dict):
        raise ValueError("its meta is no object")  # noqa: TRY004 - one kind of error
    return {
        "type": "message",
        "id": message.id.decode(errors="replace"),
        "to": message.to.decode(errors="replace"),
        "from": message.sender.decode(errors="replace"),
        "ts": meta.get("ts"),
        "holders": message.holders,
        "request": meta.get("request") is True,
        "body": orjson.loads(message.body),
    }


def _encode(facts: dict[str, Any], body: bytes) -> bytes:
    # The body unchanged: orjson reads deeper nesting than it writes.
    head = orjson.dumps({name: fact for name, fact in facts.items() if name != "body"})
    return b'%s,"body":%s}\n' % (head[:-1], body)
