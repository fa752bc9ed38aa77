"""Runs the callbacks of subscriptions, and finds the ones that run now.

An exception of a callback is logged, with topic and pattern, and not raised: it must reach neither the publisher nor the
next subscriber.

Which callback a thread is in is read from its call stack. To note it down would cost each event some 40 ns, and only two
readers ask, rarely: the log handler (is a record about a log event?) and the detector of slow consumers. For that the
functions that run a callback are marked `@runs_callback`.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import CodeType, FrameType
from typing import Any, TypeVar

from fabric.bus.subscription import Subscription
from fabric.protocol.envelope import Envelope

logger = logging.getLogger("fabric.bus")

_Function = TypeVar("_Function", bound=Callable[..., Any])

_marked: set[CodeType] = set()


def runs_callback(function: _Function) -> _Function:
    """Mark a function that runs the callback of its argument `subscription` for its argument `topic`."""
    assert {"subscription", "topic"} <= set(inspect.signature(function).parameters)
    _marked.add(function.__code__)
    return function


def running_callbacks(frame: FrameType | None) -> Iterator[tuple[Subscription, str]]:
    """Subscription and topic of each callback that the stack ending at `frame` is in, the innermost first."""
    while frame is not None:
        if frame.f_code in _marked:
            names = frame.f_locals
            yield names["subscription"], names["topic"]
        frame = frame.f_back


def callbacks_of_thread(thread_id: int) -> Iterator[tuple[Subscription, str]]:
    """As `running_callbacks`, for the present stack of another thread."""
    return running_callbacks(sys._current_frames().get(thread_id))


@runs_callback
def call(subscription: Subscription, topic: str, envelope: Envelope) -> None:
    """Run a sync callback."""
    try:
        callback = subscription.callback
        result = callback(topic, envelope) if subscription.with_topic else callback(envelope)
    except Exception as error:
        log_failure(subscription, topic, error)
        return
    if result is not None:
        refuse_coroutine(subscription, result)


@runs_callback
async def finish(subscription: Subscription, topic: str, coroutine: Awaitable[object]) -> None:
    """Await the coroutine of an async callback."""
    try:
        await coroutine
    except Exception as error:
        log_failure(subscription, topic, error)


def log_failure(subscription: Subscription, topic: str, error: BaseException) -> None:
    """Log what a callback raised."""
    logger.error("subscriber %r failed on topic %r", subscription, topic, exc_info=error)


def refuse_coroutine(subscription: Subscription, result: object) -> None:
    """Close the `result` of a sync callback if it is a coroutine, with a warning: nothing would await it."""
    if inspect.iscoroutine(result):
        result.close()
        logger.warning("%r returned a coroutine, which was closed: subscribe an `async def` itself", subscription)
