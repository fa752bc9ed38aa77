"""What waits for which channel, which sender is to be asked when, and what becomes of it: sans I/O.

    put ──▸ waiting ──its channel's turn──▸ batch ──▸ 1st sender ──ok──▸ sent
                                              ▲          └─ failed ─▸ 2nd … ─▸ last ──▸ undeliverable
                                              └── back-off, at most `attempts` rounds ─────┘

One batch of a channel is under way at a time, and what comes meanwhile, or within `interval` seconds of the start of the
last one, waits for the next: so a channel's texts keep their order, a burst becomes one text, and no text ever gets into
another channel's. A sender takes `concurrency` calls at a time. One that does not answer in time keeps its place until it
does: a sender that hangs costs its own places and nobody else's, and when it has no place left it fails at once.

Everything is bounded: texts and bytes that wait, channels, calls.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fabric.routes.model import Result

#: Seconds that a sender's own wish for a pause may be.
MAX_AFTER = 300.0
#: Seconds beyond a sender's timeout until it is given up: one that keeps to it may say what happened.
MARGIN = 1.0


@dataclass(frozen=True)
class Policy:
    """How a platform is sent to. Durations are seconds."""

    #: Between the starts of two sends to one channel.
    interval: float = 1.0
    #: Rounds through the senders.
    attempts: int = 5
    #: After the first round that failed; each further one doubles it, to the largest.
    backoff: float = 1.0
    max_backoff: float = 30.0
    #: What one send may hold. A text that is longer goes alone, uncut.
    max_texts: int = 100
    max_characters: int = 20_000


class Limits(NamedTuple):
    """What may wait."""

    channels: int = 10_000
    #: For one channel, and for all of them, in characters.
    texts: int = 1_000
    characters: int = 16_000_000


class QueuedText(NamedTuple):
    """One text; `item` is whoever handed it in, and neither looked at nor changed here."""

    channel: str
    text: str
    item: Any = None


@dataclass(eq=False)
class PlatformSender:
    """One way to send, and how busy it is."""

    name: str
    #: Called by whoever makes the calls, and not looked at here.
    send: Any
    timeout: float = 10.0
    needs_chat: bool = True
    concurrency: int = 8
    #: Calls under way, and those of them whose time is over.
    calls: int = 0
    hanging: int = 0
    sent: int = 0
    failed: int = 0
    #: Channels that wait for a place.
    queue: deque[str] = field(default_factory=deque)

    @property
    def stuck(self) -> bool:
        """All its places are held by calls that hang."""
        return self.hanging >= self.concurrency


class Attempt(NamedTuple):
    """One call of one sender, to be made."""

    number: int
    batch: Batch
    sender: PlatformSender
    deadline: float


@dataclass(eq=False)
class Batch:
    """Texts that are sent as one."""

    number: int
    channel: str
    texts: tuple[QueuedText, ...]
    senders: tuple[PlatformSender, ...]
    #: Where the senders were taken from: its chat, empty if there is none.
    chat: str = ""
    round: int = 1
    attempts: int = 0
    #: The next sender to ask.
    position: int = 0
    #: Senders that will not take it, whenever they are asked.
    out: set[PlatformSender] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    #: Seconds that a sender asked for, and when the next round may begin.
    after: float = 0.0
    not_before: float = 0.0


class Settled(NamedTuple):
    """What became of a batch; `via` is the sender's name, empty if it was sent by none."""

    batch: Batch
    via: str = ""
    problem: str = ""


class ChannelSenders(NamedTuple):
    """How a channel is reached just now."""

    senders: tuple[PlatformSender, ...]
    chat: str
    policy: Policy


@dataclass(eq=False)
class _Lane:
    waiting: deque[QueuedText] = field(default_factory=deque)
    batch: Batch | None = None
    running: Attempt | None = None
    not_before: float = 0.0
    policy: Policy = field(default_factory=Policy)


class Scheduler:
    """Times are monotonic seconds. `way` says how a channel is reached; it is asked when a batch begins."""

    def __init__(self, way: Callable[[str], ChannelSenders], limits: Limits = Limits()) -> None:  # noqa: B008 - immutable
        self._way = way
        self._limits = limits
        self._lanes: dict[str, _Lane] = {}
        self._due: list[tuple[float, int, str]] = []
        self._attempts: dict[int, Attempt] = {}
        #: Calls whose time is over, with the batch that they were made for.
        self._late: dict[int, Attempt] = {}
        #: Senders that channels wait for.
        self._crowded: set[PlatformSender] = set()
        self._serial = 0
        self._hurry = False
        self._settled: list[Settled] = []
        #: Texts that wait, and their characters; those of a batch that is under way are among them.
        self.texts = 0
        self.characters = 0

    # In

    def put(self, text: QueuedText, now: float) -> str:
        """Take a text. Why not, if it is not taken; nothing is changed then."""
        lane = self._lanes.get(text.channel)
        limits = self._limits
        if lane is None and len(self._lanes) >= limits.channels:
            return f"texts wait for {limits.channels:,} channels, no more are taken"
        if lane is not None and len(lane.waiting) >= limits.texts:
            return f"{limits.texts:,} texts wait for this channel, no more are taken"
        if self.texts and self.characters + len(text.text) > limits.characters:
            return f"texts of {limits.characters:,} characters wait, no more are taken"
        if lane is None:
            lane = self._lanes[text.channel] = _Lane()
            self._wake(text.channel, now)
        # A lane without a batch that is there already has its reminder.
        lane.waiting.append(text)
        self.texts += 1
        self.characters += len(text.text)
        return ""

    # What is to be done

    def begin(self, now: float) -> list[Attempt]:
        """The calls to be made now; `ended` must follow for each."""
        begun: list[Attempt] = []
        while True:
            while self._due and self._due[0][0] <= now:
                channel = heapq.heappop(self._due)[2]
                if (attempt := self._turn(channel, now)) is not None:
                    begun.append(attempt)
            if not self._call_in(now):
                return begun

    def _turn(self, channel: str, now: float) -> Attempt | None:
        lane = self._lanes.get(channel)
        if lane is None or lane.running is not None:
            return None
        # A reminder may be older than what it reminds of; then there is another one for the right time.
        if lane.batch is not None:
            return self._next(channel, lane, now) if now >= lane.batch.not_before else None
        if now < lane.not_before and not self._hurry:
            return None
        if not lane.waiting:
            del self._lanes[channel]
            return None
        self._take(channel, lane, now)
        return self._next(channel, lane, now)

    def _call_in(self, now: float) -> bool:
        """Let channels that wait for a place come, one for each place that is free; whether there was one."""
        called = False
        for sender in list(self._crowded):
            if sender.queue and (sender.stuck or sender.calls < sender.concurrency):
                self._wake(sender.queue.popleft(), now)
                called = True
            if not sender.queue:
                self._crowded.discard(sender)
        return called

    def next_time(self) -> float | None:
        """When `begin` or `tick` has something to do; None: not before something ends."""
        times = [attempt.deadline for attempt in self._attempts.values()]
        if self._due:
            times.append(self._due[0][0])
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Give up the calls whose time is over."""
        for attempt in [each for each in self._attempts.values() if each.deadline <= now]:
            del self._attempts[attempt.number]
            self._late[attempt.number] = attempt
            attempt.sender.hanging += 1
            self._failed(attempt, Result(False, f"did not answer within {attempt.sender.timeout:g} s"), now)

    def ended(self, number: int, result: Result, now: float) -> None:
        """A call has ended, in time or not."""
        late = self._late.pop(number, None)
        attempt = late or self._attempts.pop(number)
        sender = attempt.sender
        sender.calls -= 1
        if late is not None:
            sender.hanging -= 1
        if late is None:
            if result.ok:
                self._sent(attempt, now)
            else:
                self._failed(attempt, result, now)
            return
        lane = self._lanes.get(attempt.batch.channel)
        if result.ok and lane is not None and lane.batch is attempt.batch and lane.running is None:
            self._sent(attempt, now)  # it had been sent after all: not once more

    def settled(self) -> list[Settled]:
        """What became of batches since the last look."""
        settled, self._settled = self._settled, []
        return settled

    # The end

    def hurry(self, now: float) -> None:
        """No intervals any more."""
        self._hurry = True
        for channel, lane in self._lanes.items():
            if lane.batch is None:
                self._wake(channel, now)

    @property
    def is_idle(self) -> bool:
        """Nothing waits, and nothing is under way."""
        return not self.texts

    def give_up(self, problem: str) -> None:
        """What is left is undeliverable."""
        for channel, lane in list(self._lanes.items()):
            if lane.batch is not None:
                self._settle(lane, Settled(lane.batch, problem=_told([*lane.batch.problems, problem])))
            if lane.waiting:
                texts = tuple(lane.waiting)
                lane.waiting.clear()
                self._settle(lane, Settled(Batch(0, channel, texts, ()), problem=problem))
            del self._lanes[channel]

    # Inside

    def _wake(self, channel: str, at: float) -> None:
        self._serial += 1
        heapq.heappush(self._due, (at, self._serial, channel))

    def _take(self, channel: str, lane: _Lane, now: float) -> None:
        way = self._way(channel)
        lane.policy = way.policy
        texts: list[QueuedText] = []
        size = 0
        while lane.waiting and len(texts) < way.policy.max_texts:
            size += len(lane.waiting[0].text)
            if texts and size > way.policy.max_characters:
                break
            texts.append(lane.waiting.popleft())
        self._serial += 1
        lane.batch = Batch(self._serial, channel, tuple(texts), way.senders, way.chat)
        lane.not_before = now + way.policy.interval

    def _next(self, channel: str, lane: _Lane, now: float) -> Attempt | None:
        """Ask the next sender that may be asked; None if none may be now, or none is left."""
        batch = lane.batch
        assert batch is not None
        while batch.position < len(batch.senders):
            sender = batch.senders[batch.position]
            if sender in batch.out:
                batch.position += 1
            elif sender.needs_chat and not batch.chat:
                batch.out.add(sender)
                batch.problems.append(f"{sender.name}: the channel has no chat, and its platform no default")
            elif sender.stuck:
                sender.failed += 1
                batch.problems.append(f"{sender.name}: {sender.hanging} calls of it hang")
                batch.position += 1
            elif sender.calls >= sender.concurrency:
                sender.queue.append(channel)
                self._crowded.add(sender)
                return None
            else:
                return self._start(lane, batch, sender, now)
        self._round_failed(channel, lane, batch, now)
        return None

    def _start(self, lane: _Lane, batch: Batch, sender: PlatformSender, now: float) -> Attempt:
        self._serial += 1
        batch.attempts += 1
        sender.calls += 1
        attempt = Attempt(self._serial, batch, sender, now + sender.timeout + MARGIN)
        self._attempts[attempt.number] = lane.running = attempt
        return attempt

    def _sent(self, attempt: Attempt, now: float) -> None:
        attempt.sender.sent += 1
        if (lane := self._lane_of(attempt)) is not None:
            self._settle(lane, Settled(attempt.batch, via=attempt.sender.name))
            self._go_on(attempt.batch.channel, lane, now)

    def _failed(self, attempt: Attempt, result: Result, now: float) -> None:
        attempt.sender.failed += 1
        if (lane := self._lane_of(attempt)) is None:
            return
        batch = attempt.batch
        batch.problems.append(f"{attempt.sender.name}: {result.problem or 'failed'}")
        batch.after = max(batch.after, min(result.after, MAX_AFTER))
        if not result.retry:
            batch.out.add(attempt.sender)
        batch.position += 1
        lane.running = None
        self._wake(batch.channel, now)

    def _lane_of(self, attempt: Attempt) -> _Lane | None:
        lane = self._lanes.get(attempt.batch.channel)
        return lane if lane is not None and lane.batch is attempt.batch else None

    def _round_failed(self, channel: str, lane: _Lane, batch: Batch, now: float) -> None:
        policy = lane.policy
        if batch.round >= policy.attempts or all(sender in batch.out for sender in batch.senders):
            self._settle(lane, Settled(batch, problem=_told(batch.problems)))
            self._go_on(channel, lane, now)
            return
        pause = max(min(policy.max_backoff, policy.backoff * 2 ** min(batch.round - 1, 30)), batch.after)
        batch.round += 1
        batch.position, batch.after, batch.not_before = 0, 0.0, now + pause
        batch.problems.clear()  # each round has its own
        self._wake(channel, now + pause)

    def _settle(self, lane: _Lane, settled: Settled) -> None:
        texts: Sequence[QueuedText] = settled.batch.texts
        self.texts -= len(texts)
        self.characters -= sum(len(each.text) for each in texts)
        lane.batch = lane.running = None
        self._settled.append(settled)

    def _go_on(self, channel: str, lane: _Lane, now: float) -> None:
        # Also when nothing waits: then it is forgotten.
        self._wake(channel, now if self._hurry else max(now, lane.not_before))


def _told(problems: Sequence[str]) -> str:
    return "; ".join(problems) or "nobody sends to its platform"
