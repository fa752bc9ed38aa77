"""Router: sends texts to channels, by way of registered senders.

    router = Router()
    router.register("feishu", adapter.send)                  # True, or an object whose `ok` is True, is success
    router.register("feishu", Webhook("https://…"))          # … else the next one is asked
    router.platform("feishu", default="oc_1", interval=30)
    routing = router.route("feishu:oc_2", "the build is green")

    route ──▸ Scheduler ──▸ a thread per call ──▸ sender ──▸ Scheduler ──▸ Routing
                                                                └────────▸ DeadLetters

`route` never blocks. One thread, `fabric-routes`, owns the scheduler. Each call of a sender has a thread of its own, so a
call that hangs delays nothing but the slots of its sender. Async senders run on the loop that they were registered in, else
on one of their own (`fabric.routes.sender_call`).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import Any
from uuid import uuid4

from fabric.bus.bus import Bus
from fabric.node.connect import default_bus
from fabric.routes.batch import Policy, QueuedText
from fabric.routes.dead_letters import DeadLetter, DeadLetters, Write, to_stderr
from fabric.routes.model import Delivery, Result, result_of, split
from fabric.routes.platforms import Platforms
from fabric.routes.receipt import Routing
from fabric.routes.scheduler import Attempt, Limits, Scheduler, Settled
from fabric.routes.sender_call import Send

logger = logging.getLogger("fabric.routes")

#: Seconds that `close` gives the texts that wait.
CLOSE_TIMEOUT = 5.0
#: Seconds that it gives the thread to end after that, and the dead letters to be shown.
FLUSH_TIMEOUT = 0.5

#: Routers, for the exit of the process and for forks.
_open: weakref.WeakSet[Router] = weakref.WeakSet()


class Router:
    """Every method may be called on any thread."""

    def __init__(
        self,
        *,
        bus: Bus | None = None,
        write: Write | None = to_stderr,
        policy: Policy | None = None,
        limits: Limits | None = None,
        separator: str = "\n\n",
    ) -> None:
        """`bus` gets the dead letters as events (`fabric.route.dead_letter`; the default bus if None), `write` is called
        with a line for each (None: shown nowhere). `policy` is that of platforms without one of their own, `separator`
        stands between texts that are sent as one.
        """
        self._bus = default_bus if bus is None else bus
        self._write = write
        self._limits = limits or Limits()
        self._separator = separator
        self._platforms = Platforms(policy or Policy())
        self._begin()
        self._closing = False
        self._until = 0.0
        self._counts = dict.fromkeys(("accepted", "refused", "sent", "batches", "fallbacks", "undelivered"), 0)
        _open.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()  # around the scheduler, and the calls that have ended
        self._scheduler = Scheduler(self._platforms.resolve, self._limits)
        self._ended: deque[tuple[int, Result]] = deque()
        self._thread: threading.Thread | None = None
        self._dead_letters = DeadLetters(self._bus, self._write)

    def forked(self) -> None:
        """In the child of a fork: texts that wait are the parent's to send, and its threads are not here."""
        self._platforms.forked()
        self._begin()

    # Senders

    def register(
        self,
        platform: str,
        send: Send,
        *,
        name: str = "",
        timeout: float = 10.0,
        needs_chat: bool | None = None,
        concurrency: int = 8,
    ) -> None:
        """Let `send` send to `platform`, after those that were registered before it have failed.

        It is called with a `Delivery` and answers True, or an object whose `ok` is True; any other answer and any exception
        is a failure. After `timeout` seconds the call has failed, too: if it sends later, the text is sent twice.
        `needs_chat`: it is not asked if the channel has no chat and the platform no default; by default so, unless
        `send.needs_chat` says otherwise. At most `concurrency` calls run at a time, those that hang included.
        ValueError for an invalid name, timeout or concurrency.
        """
        self._platforms.register(
            platform, send, name=name, timeout=timeout, needs_chat=needs_chat, concurrency=concurrency
        )

    def platform(self, platform: str, *, default: str | None = None, **policy: Any) -> None:
        """Set a platform's default chat, and fields of its `Policy`. TypeError for a field that there is not.

        Without a default, `<PLATFORM>_HOME_CHANNEL` in the environment is one.
        """
        self._platforms.configure(platform, default, policy)

    @property
    def platforms(self) -> list[str]:
        """Platforms that have a sender."""
        return self._platforms.names

    # In

    def route(self, channel: str, text: str, message: Mapping[str, Any] | None = None) -> Routing:
        """Send `text` to `channel`. `message` is the message it was made for, and is handed to the sender with it.

        Returns at once. The routing tells the outcome; a text that is not taken (a channel without a sender, a full queue,
        a closed router) has failed already. A text that could not be sent becomes a dead letter, an event and a line.
        """
        text = str(text)
        routing = Routing(str(channel), uuid4().hex)
        problem = self._platforms.problem_with(channel)
        if not problem:
            with self._changed:
                problem = (
                    "the router is closed"
                    if self._closing
                    else self._put(QueuedText(channel, text, (routing, message)))
                )
                if not problem:
                    self._counts["accepted"] += 1
                    self._changed.notify()
        if problem:
            with self._changed:
                self._counts["refused"] += 1
                self._counts["undelivered"] += 1
            self._dead_letters.put(DeadLetter(routing.channel, text, problem, id=routing.id))
            routing.settle("", problem)
        return routing

    def _put(self, text: QueuedText) -> str:
        problem = self._scheduler.put(text, monotonic())
        if not problem and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="fabric-routes", daemon=True)
            self._thread.start()
        return problem

    # On the thread that owns the scheduler

    def _work(self) -> None:
        while True:
            with self._changed:
                attempts, settled, is_over = self._step()
            for each in settled:
                self._finish(each)
            for attempt in attempts:
                self._start(attempt)
            if is_over:
                return

    def _step(self) -> tuple[list[Attempt], list[Settled], bool]:
        scheduler = self._scheduler
        while True:
            now = monotonic()
            while self._ended:
                number, result = self._ended.popleft()
                scheduler.ended(number, result, now)
            scheduler.tick(now)
            attempts = scheduler.begin(now)
            is_over = self._closing and (scheduler.is_idle or now >= self._until)
            if is_over:
                scheduler.give_up("the router was closed")
            settled = scheduler.settled()
            if attempts or settled or is_over:
                return attempts, settled, is_over
            times = [
                each for each in (scheduler.next_time(), self._until if self._closing else None) if each is not None
            ]
            self._changed.wait(max(min(times) - now, 0.0) if times else None)

    def _start(self, attempt: Attempt) -> None:
        call = threading.Thread(
            target=self._call, args=(attempt,), name=f"fabric-route-{attempt.sender.name}", daemon=True
        )
        try:
            call.start()
        except RuntimeError as error:  # the process cannot have more threads
            self._note_end(attempt.number, Result(False, str(error)))

    def _call(self, attempt: Attempt) -> None:
        batch = attempt.batch
        delivery = Delivery(
            batch.texts[0].item[0].id,
            batch.channel,
            split(batch.channel).platform,
            batch.route.chat,
            self._separator.join(each.text for each in batch.texts),
            batch.attempts,
            attempt.sender.timeout,
            tuple(each.item[1] for each in batch.texts if each.item[1] is not None),
        )
        try:
            result = result_of(attempt.sender.send(delivery))
        except BaseException as error:  # SystemExit, too, ends only this call
            logger.debug("%s failed", attempt.sender.name, exc_info=error)
            result = Result(False, f"{type(error).__name__}: {error}".removesuffix(": "))
        self._note_end(attempt.number, result)

    def _note_end(self, number: int, result: Result) -> None:
        with self._changed:
            self._ended.append((number, result))
            self._changed.notify()

    def _finish(self, settled: Settled) -> None:
        batch = settled.batch
        with self._changed:
            self._counts["batches"] += 1
            self._counts["sent" if settled.via else "undelivered"] += len(batch.texts)
            if settled.via and batch.route.senders[0].name != settled.via:
                self._counts["fallbacks"] += 1
        if not settled.via:
            text = self._separator.join(each.text for each in batch.texts)
            first: Routing = batch.texts[0].item[0]
            self._dead_letters.put(
                DeadLetter(batch.channel, text, settled.problem, len(batch.texts), batch.attempts, first.id)
            )
        for each in batch.texts:
            each.item[0].settle(settled.via, settled.problem)

    # Counters, and the end

    def stats(self) -> dict[str, Any]:
        """Counters since it was made, and the present state.

        Texts: `accepted`, `refused` (not taken), `sent`, `undelivered` (refused ones included), `waiting`. `batches` were
        sent or given up, `fallbacks` of them sent by another than the first sender. `shown`: dead letters on the terminal;
        `untold`: dead letters neither published nor shown, because they were too many. `senders`: by platform, in order,
        each with its `name`, calls that `sent`, `failed`, run now (`calls`), and hang (`hanging`).
        """
        with self._changed:
            facts: dict[str, Any] = {**self._counts, "waiting": self._scheduler.texts}
            facts |= {"shown": self._dead_letters.shown, "untold": self._dead_letters.dropped}
            facts["senders"] = self._platforms.stats()
        return facts

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Take no more texts, send those that wait, without intervals, and close the senders.

        A text that is left after `timeout` seconds is undelivered. False if any text that waited was not sent.
        """
        with self._changed:
            was_closed, self._closing = self._closing, True
            if not was_closed:
                self._until = monotonic() + timeout
                self._scheduler.skip_intervals(monotonic())
            before = self._counts["undelivered"]
            waiting = self._scheduler.texts
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout + FLUSH_TIMEOUT)
        self._dead_letters.close(monotonic() + FLUSH_TIMEOUT)
        if not was_closed:
            self._platforms.close()
        with self._changed:
            return not waiting or self._counts["undelivered"] == before

    def __enter__(self) -> Router:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _close_all() -> None:
    for router in list(_open):
        router.close()


def _after_fork() -> None:
    for router in list(_open):
        router.forked()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
