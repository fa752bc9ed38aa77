"""What waits where in one node, for `fabric.node.slow_consumers`: looked at from outside, so that delivering costs
nothing more.

delivery     messages that were read and not delivered; who holds them up is seen on the delivery thread's stack
a loop       events on their way to callbacks of one event loop; the next one says whose turn it is
a stream     events that an iteration has not taken
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from fabric.bus.bus import Bus
from fabric.bus.callbacks import running_callbacks
from fabric.events.receiver import Receiver
from fabric.node.slow_consumers import Backlog


def backlogs(bus: Bus, receiver: Receiver) -> Iterator[Backlog]:
    """Every queue between the link and a handler. Any thread."""
    taken = receiver.taken
    waiting = receiver.begun - taken + receiver.waiting
    handler, pattern, topic = _running(receiver) if waiting else ("", "", "")
    yield Backlog("delivery", handler, pattern, topic, taken, waiting)
    for queue in bus.queues():
        head = queue.first
        subscription, topic = (None, "") if head is None else head[:2]
        yield Backlog(
            id(queue),
            subscription.handler if subscription else "an event loop",
            subscription.pattern if subscription else "",
            topic,
            queue.handled,
            len(queue),
            queue.dropped,
        )
    for stream in bus.streams():
        yield Backlog(
            id(stream), "an iteration over events", stream.pattern, "", stream.taken, len(stream), stream.dropped
        )


def _running(receiver: Receiver) -> tuple[str, str, str]:
    """The callback that the delivery thread is in: its name, its pattern, the topic."""
    for subscription, topic in running_callbacks(sys._current_frames().get(receiver.thread_id)):
        return subscription.handler, subscription.pattern, topic
    return "", "", ""
