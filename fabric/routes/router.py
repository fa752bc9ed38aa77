"""Texts to channels, by way of senders that somebody registered.

    router = Router()
    router.register("feishu", adapter.send)                  # True, or an object whose `ok` is True, is success
    router.register("feishu", Webhook("https://…"))          # … else the next one is asked
    router.platform("feishu", default="oc_1", interval=30)
    routing = router.route("feishu:oc_2", "the build is green")

    route ──▸ Traffic (what waits, whose turn it is) ──▸ a thread a call ──▸ sender ──▸ Traffic ──▸ Routing
                                                                                          └──▸ Undeliverable

`route` never blocks. One thread, `fabric-routes`, owns the scheduler; each call of a sender has a thread of its own, so
that one that hangs holds up its own places and nothing else. Async senders run on the loop that they were registered
in, else on one of their own.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, replace
from time import monotonic
from types import TracebackType
from typing import Any
from uuid import uuid4

from fabric.bus.bus import Bus
from fabric.node.connect import default_bus
from fabric.routes.dead_letters import DeadLetter, DeadLetters, Write, to_stderr
from fabric.routes.model import Delivery, Result, home_variable, result_of, split
from fabric.routes.receipt import Routing
from fabric.routes.scheduler import (
    Attempt,
    ChannelSenders,
    Limits,
    PlatformSender,
    Policy,
    QueuedText,
    Scheduler,
    Settled,
)
from fabric.routes.sender_call import Send, SenderCalls

logger = logging.getLogger("fabric.routes")

#: Seconds that `close` gives what waits, and what could not be sent.
CLOSE_TIMEOUT = 5.0
_LAST_PATIENCE = 0.5

#: Routers that nobody closed.
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
        """`bus` is told what could not be sent (`fabric.route.dead_letter`; the default bus if None), `write` is called
        with a line of it (None: it is shown nowhere). `policy` is what platforms have that were not told otherwise,
        `separator` stands between texts that are sent as one.
        """
        self._bus = default_bus if bus is None else bus
        self._write = write
        self._policy = policy or Policy()
        self._limits = limits or Limits()
        self._separator = separator
        self._senders: dict[str, tuple[PlatformSender, ...]] = {}
        self._defaults: dict[str, str] = {}
        self._policies: dict[str, Policy] = {}
        self._begin()
        self._closing = False
        self._until = 0.0
        self._counts = dict.fromkeys(("accepted", "refused", "sent", "batches", "fallbacks", "undelivered"), 0)
        _open.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()  # around senders, defaults and policies
        self._changed = threading.Condition()  # around the scheduler, and what follows
        self._scheduler = Scheduler(self._way, self._limits)
        self._ended: deque[tuple[int, Result]] = deque()
        self._thread: threading.Thread | None = None
        self._dead_letters = DeadLetters(self._bus, self._write)

    def forked(self) -> None:
        """We are the child: what waits is the parent's to send, and its threads are not here."""
        self._begin()
        for sender in [sender for senders in self._senders.values() for sender in senders]:
            sender.calls = sender.hanging = 0
            sender.queue.clear()
            sender.send.forked()

    # Who sends

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

        It is called with a `Delivery` and answers True, or an object whose `ok` is True; anything else, and what it
        raises, is a failure. After `timeout` seconds it has failed, too: what it sends later is then sent twice.
        `needs_chat`: it is not asked where the channel has no chat and the platform no default; by default so, unless
        it has an attribute that says otherwise. At most `concurrency` calls of it run at a time, those that hang included.
        ValueError for a name or a number that is none.
        """
        if not platform or ":" in platform or platform != platform.strip():
            raise ValueError(f"{platform!r} is no platform's name: no colon, no space around it, and not empty")
        if timeout <= 0 or concurrency < 1:
            raise ValueError(f"a sender has some seconds, and one call at least, not {timeout!r} and {concurrency!r}")
        if needs_chat is None:
            needs_chat = bool(getattr(send, "needs_chat", True))
        name = name or str(getattr(send, "name", "") or getattr(send, "__qualname__", "") or type(send).__name__)
        sender = PlatformSender(name, SenderCalls(send, name), timeout, needs_chat, concurrency)
        with self._lock:
            self._senders[platform] = (*self._senders.get(platform, ()), sender)

    def platform(self, platform: str, *, default: str | None = None, **policy: Any) -> None:
        """A platform's default chat, and what its policy has that others have not: the fields of `Policy`.

        Without a default, `<PLATFORM>_HOME_CHANNEL` in the environment is one.
        """
        unknown = policy.keys() - {each.name for each in fields(Policy)}
        if unknown:
            raise TypeError(f"a policy has no {sorted(unknown)[0]!r}")
        with self._lock:
            if default is not None:
                self._defaults[platform] = default
            if policy:
                self._policies[platform] = replace(self._policies.get(platform, self._policy), **policy)

    @property
    def platforms(self) -> list[str]:
        """Those that somebody sends to."""
        return sorted(self._senders)

    def _way(self, channel: str) -> ChannelSenders:
        platform, chat = split(channel)
        with self._lock:
            chat = chat or self._defaults.get(platform) or os.environ.get(home_variable(platform), "").strip()
            return ChannelSenders(self._senders.get(platform, ()), chat, self._policies.get(platform, self._policy))

    # In

    def route(self, channel: str, text: str, message: Mapping[str, Any] | None = None) -> Routing:
        """Have `text` sent to `channel`; `message` is what it was made for, and is handed to the sender with it.

        Returns at once. What becomes of it the routing says; what is not taken (a channel that nobody sends to, a full
        queue, a closed router) has failed already. Whatever could not be sent is told and shown, see `undelivered`.
        """
        text = str(text)
        routing = Routing(str(channel), uuid4().hex)
        problem = self._why_not(channel, text)
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

    def _why_not(self, channel: str, text: str) -> str:
        try:
            platform = split(channel).platform
        except (ValueError, TypeError) as error:
            return str(error)
        if platform not in self._senders:
            known = ", ".join(self.platforms)
            return f"nobody sends to {platform!r}; " + (f"there are: {known}" if known else "no platform has a sender")
        return ""

    def _put(self, text: QueuedText) -> str:
        problem = self._scheduler.put(text, monotonic())
        if not problem and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="fabric-routes", daemon=True)
            self._thread.start()
        return problem

    # The thread that owns the scheduler

    def _work(self) -> None:
        while True:
            with self._changed:
                attempts, settled, is_over = self._step()
            for one in settled:
                self._tell(one)
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
        except RuntimeError as error:  # no more threads are to be had
            self._over(attempt.number, Result(False, str(error)))

    def _call(self, attempt: Attempt) -> None:
        batch = attempt.batch
        delivery = Delivery(
            batch.texts[0].item[0].id,
            batch.channel,
            split(batch.channel).platform,
            batch.chat,
            self._separator.join(each.text for each in batch.texts),
            batch.attempts,
            attempt.sender.timeout,
            tuple(each.item[1] for each in batch.texts if each.item[1] is not None),
        )
        try:
            result = result_of(attempt.sender.send(delivery))
        except BaseException as error:  # SystemExit, too, is only this call's end
            logger.debug("%s failed", attempt.sender.name, exc_info=error)
            result = Result(False, f"{type(error).__name__}: {error}".removesuffix(": "))
        self._over(attempt.number, result)

    def _over(self, number: int, result: Result) -> None:
        with self._changed:
            self._ended.append((number, result))
            self._changed.notify()

    def _tell(self, settled: Settled) -> None:
        batch = settled.batch
        with self._changed:
            self._counts["batches"] += 1
            self._counts["sent" if settled.via else "undelivered"] += len(batch.texts)
            if settled.via and batch.senders[0].name != settled.via:
                self._counts["fallbacks"] += 1
        if not settled.via:
            text = self._separator.join(each.text for each in batch.texts)
            first: Routing = batch.texts[0].item[0]
            self._dead_letters.put(
                DeadLetter(batch.channel, text, settled.problem, len(batch.texts), batch.attempts, first.id)
            )
        for each in batch.texts:
            each.item[0].settle(settled.via, settled.problem)

    # What it did, and the end

    def stats(self) -> dict[str, Any]:
        """Counters since it was made, and what is the case now.

        Texts: `accepted`, `refused` (not taken), `sent`, `undelivered` (refused ones included), `waiting`. `batches` were
        sent or given up, `fallbacks` of them sent by another than the first sender. `shown` lines on the terminal;
        `untold`: undelivered, and neither told nor shown, because too many were. `senders`: by platform, in order, each
        with its `name`, calls that `sent`, `failed`, run now (`calls`), and hang (`hanging`).
        """
        with self._changed:
            facts: dict[str, Any] = {**self._counts, "waiting": self._scheduler.texts}
            facts |= {"shown": self._dead_letters.shown, "untold": self._dead_letters.dropped}
            facts["senders"] = {
                platform: [
                    {"name": each.name} | {key: getattr(each, key) for key in ("sent", "failed", "calls", "hanging")}
                    for each in senders
                ]
                for platform, senders in self._senders.items()
            }
        return facts

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Take nothing more, send what waits, without intervals, and close the senders.

        What is left after `timeout` seconds is undelivered. False if that, or anything else that waited, came to nothing.
        """
        with self._changed:
            was_closed, self._closing = self._closing, True
            if not was_closed:
                self._until = monotonic() + timeout
                self._scheduler.hurry(monotonic())
            before = self._counts["undelivered"]
            late = self._scheduler.texts
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout + _LAST_PATIENCE)
        self._dead_letters.close(monotonic() + _LAST_PATIENCE)
        with self._lock:
            calls = [sender.send for senders in self._senders.values() for sender in senders if not was_closed]
        for each in calls:
            each.close()
        with self._changed:
            return not late or self._counts["undelivered"] == before

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
