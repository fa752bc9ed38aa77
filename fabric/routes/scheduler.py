"""Scheduler of texts: queues by channel, batches, the slots of senders. Pure: does no I/O and reads no clock.

    put ──▸ queue of its channel ──interval over──▸ batch ──slot free──▸ Attempt ──▸ (the router calls the sender)
                                                      ▲                                 │
                                                      └───── next sender, next round ───┴─ ended ──▸ Settled

A channel has at most one batch at a time. Texts that come meanwhile, or within `interval` seconds of the start of the last
batch, make up the next one: a channel's texts keep their order, a burst becomes one text, and no text gets into another
channel's. A sender has `concurrency` slots. A call that exceeds its timeout keeps its slot until it returns: a sender that
hangs costs its own slots and no others, and when it has none left it fails at once.

Everything is bounded: texts and characters that wait, channels, calls.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fabric.routes.batch import Batch, ChannelSenders, PlatformSender, Policy, QueuedText
from fabric.routes.model import Result

#: Seconds beyond a sender's timeout after which its call counts as hanging, so that it can report the timeout itself.
TIMEOUT_MARGIN = 1.0


class Limits(NamedTuple):
    """Bounds of the texts that wait."""

    channels: int = 10_000
    #: For one channel; and characters for all of them.
    texts: int = 1_000
    characters: int = 16_000_000


class Attempt(NamedTuple):
    """One call of one sender, to be made."""

    number: int
    batch: Batch
    sender: PlatformSender
    deadline: float


class Settled(NamedTuple):
    """The outcome of a batch; `via` is the sender's name, empty if none sent it."""

    batch: Batch
    via: str = ""
    problem: str = ""


@dataclass(eq=False)
class _ChannelQueue:
    waiting: deque[QueuedText] = field(default_factory=deque)
    batch: Batch | None = None
    running: Attempt | None = None
    #: When the next batch may begin.
    not_before: float = 0.0


class Scheduler:
    """Callers hold a lock, or are the only ones. Times are monotonic seconds."""

    def __init__(self, resolve: Callable[[str], ChannelSenders], limits: Limits = Limits()) -> None:  # noqa: B008 - immutable
        """`resolve` returns the senders of a channel; it is called when a batch begins."""
        self._resolve = resolve
        self._limits = limits
        self._channels: dict[str, _ChannelQueue] = {}
        #: A heap of (time, serial number, channel).
        self._timers: list[tuple[float, int, str]] = []
        self._attempts: dict[int, Attempt] = {}
        #: Attempts whose deadline is over, and whose calls have not returned.
        self._overdue: dict[int, Attempt] = {}
        #: Senders that channels wait for.
        self._awaited: set[PlatformSender] = set()
        self._serial = 0
        self._skip_intervals = False
        self._settled: list[Settled] = []
        #: Texts that have not been settled, and their characters.
        self.texts = 0
        self.characters = 0

    # In

    def put(self, text: QueuedText, now: float) -> str:
        """Queue a text. Returns the problem if it is not taken, and has changed nothing then."""
        channel = self._channels.get(text.channel)
        limits = self._limits
        if channel is None and len(self._channels) >= limits.channels:
            return f"texts wait for {limits.channels:,} channels, no more are taken"
        if channel is not None and len(channel.waiting) >= limits.texts:
            return f"{limits.texts:,} texts wait for this channel, no more are taken"
        if self.texts and self.characters + len(text.text) > limits.characters:
            return f"texts of {limits.characters:,} characters wait, no more are taken"
        if channel is None:
            channel = self._channels[text.channel] = _ChannelQueue()
            self._set_timer(text.channel, now)
        # Else a timer is set, or a batch sets one when it is settled.
        channel.waiting.append(text)
        self.texts += 1
        self.characters += len(text.text)
        return ""

    # Out

    def begin(self, now: float) -> list[Attempt]:
        """The calls to be made now; `ended` must follow for each."""
        begun: list[Attempt] = []
        while True:
            while self._timers and self._timers[0][0] <= now:
                name = heapq.heappop(self._timers)[2]
                if (attempt := self._advance(name, now)) is not None:
                    begun.append(attempt)
            if not self._offer_slots(now):
                return begun

    def next_time(self) -> float | None:
        """When `begin` or `tick` has something to do; None: not before a call ends."""
        times = [attempt.deadline for attempt in self._attempts.values()]
        if self._timers:
            times.append(self._timers[0][0])
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Fail the attempts whose deadline is over."""
        for attempt in [each for each in self._attempts.values() if each.deadline <= now]:
            del self._attempts[attempt.number]
            self._overdue[attempt.number] = attempt
            attempt.sender.hanging += 1
            self._failed(attempt, Result(False, f"did not answer within {attempt.sender.timeout:g} s"), now)

    def ended(self, number: int, result: Result, now: float) -> None:
        """A call has returned, in time or not."""
        overdue = self._overdue.pop(number, None)
        attempt = overdue or self._attempts.pop(number)
        sender = attempt.sender
        sender.calls -= 1
        if overdue is None:
            if result.ok:
                self._sent(attempt, now)
            else:
                self._failed(attempt, result, now)
            return
        sender.hanging -= 1
        channel = self._channel_of(attempt)
        if result.ok and channel is not None and channel.running is None:
            self._sent(attempt, now)  # late, but sent: not once more

    def settled(self) -> list[Settled]:
        """The outcomes since the last call."""
        settled, self._settled = self._settled, []
        return settled

    # The end

    def skip_intervals(self, now: float) -> None:
        """Wait for no interval from now on."""
        self._skip_intervals = True
        for name, channel in self._channels.items():
            if channel.batch is None:
                self._set_timer(name, now)

    @property
    def is_idle(self) -> bool:
        """Whether all texts have been settled."""
        return not self.texts

    def give_up(self, problem: str) -> None:
        """Settle all texts as undeliverable."""
        for name, channel in list(self._channels.items()):
            if channel.batch is not None:
                self._settle(channel, Settled(channel.batch, problem=channel.batch.problem(problem)))
            if channel.waiting:
                texts = tuple(channel.waiting)
                channel.waiting.clear()
                self._settle(channel, Settled(Batch(0, name, texts, ChannelSenders((), "", Policy())), problem=problem))
            del self._channels[name]

    # Channels

    def _set_timer(self, channel: str, at: float) -> None:
        self._serial += 1
        heapq.heappush(self._timers, (at, self._serial, channel))

    def _advance(self, name: str, now: float) -> Attempt | None:
        """A timer of the channel has run out. It may be outdated; then there is another one for the right time."""
        channel = self._channels.get(name)
        if channel is None or channel.running is not None:
            return None
        if channel.batch is not None:
            return self._ask_next_sender(channel, channel.batch, now) if now >= channel.batch.not_before else None
        if now < channel.not_before and not self._skip_intervals:
            return None
        if not channel.waiting:
            del self._channels[name]
            return None
        return self._ask_next_sender(channel, self._begin_batch(name, channel, now), now)

    def _begin_batch(self, name: str, channel: _ChannelQueue, now: float) -> Batch:
        route = self._resolve(name)
        texts: list[QueuedText] = []
        characters = 0
        while channel.waiting and len(texts) < route.policy.max_texts:
            characters += len(channel.waiting[0].text)
            if texts and characters > route.policy.max_characters:
                break
            texts.append(channel.waiting.popleft())
        self._serial += 1
        channel.batch = Batch(self._serial, name, tuple(texts), route)
        channel.not_before = now + route.policy.interval
        return channel.batch

    def _ask_next_sender(self, channel: _ChannelQueue, batch: Batch, now: float) -> Attempt | None:
        """Begin an attempt. None if the next sender is full, or none is left: then the next round follows, or the end."""
        sender = batch.next_sender()
        if sender is None:
            if batch.next_round(now):
                self._set_timer(batch.channel, batch.not_before)
            else:
                self._settle(channel, Settled(batch, problem=batch.problem()))
                self._set_timer_for_next_batch(batch.channel, channel, now)
            return None
        if sender.is_full:
            sender.queue.append(batch.channel)
            self._awaited.add(sender)
            return None
        self._serial += 1
        batch.attempts += 1
        sender.calls += 1
        attempt = Attempt(self._serial, batch, sender, now + sender.timeout + TIMEOUT_MARGIN)
        self._attempts[attempt.number] = channel.running = attempt
        return attempt

    def _offer_slots(self, now: float) -> bool:
        """Set the timer of one waiting channel for each sender with a free slot; whether there was one."""
        offered = False
        for sender in list(self._awaited):
            if sender.queue and (sender.is_stuck or not sender.is_full):
                self._set_timer(sender.queue.popleft(), now)
                offered = True
            if not sender.queue:
                self._awaited.discard(sender)
        return offered

    # Outcomes

    def _channel_of(self, attempt: Attempt) -> _ChannelQueue | None:
        """The channel of the attempt's batch; None if that has been settled."""
        channel = self._channels.get(attempt.batch.channel)
        return channel if channel is not None and channel.batch is attempt.batch else None

    def _sent(self, attempt: Attempt, now: float) -> None:
        attempt.sender.sent += 1
        if (channel := self._channel_of(attempt)) is not None:
            self._settle(channel, Settled(attempt.batch, via=attempt.sender.name))
            self._set_timer_for_next_batch(attempt.batch.channel, channel, now)

    def _failed(self, attempt: Attempt, result: Result, now: float) -> None:
        attempt.sender.failed += 1
        if (channel := self._channel_of(attempt)) is not None:
            attempt.batch.failed(attempt.sender, result)
            channel.running = None
            self._set_timer(attempt.batch.channel, now)

    def _settle(self, channel: _ChannelQueue, settled: Settled) -> None:
        texts: Sequence[QueuedText] = settled.batch.texts
        self.texts -= len(texts)
        self.characters -= sum(len(each.text) for each in texts)
        channel.batch = channel.running = None
        self._settled.append(settled)

    def _set_timer_for_next_batch(self, name: str, channel: _ChannelQueue, now: float) -> None:
        # Also if nothing waits: the channel is forgotten then.
        self._set_timer(name, now if self._skip_intervals else max(now, channel.not_before))
