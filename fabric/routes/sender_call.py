"""Calls a sender, sync or async, and waits for its answer, on the thread of the call.

An async sender runs on the event loop on which it was registered, because its sessions and locks belong to that loop. If
it was registered on none, it has a loop of its own in a thread of its own, so that a sender that blocks its loop blocks no
other.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable
from typing import Any

from fabric.bus.loop_queue import running_loop
from fabric.routes.model import Delivery, Result

logger = logging.getLogger("fabric.routes")

#: A sender: a function of a `Delivery`, sync or async.
Send = Callable[[Delivery], Any]


class SenderCalls:
    """Calls one sender. Any thread; a call blocks until the sender has answered, or its timeout is over."""

    def __init__(self, send: Send, name: str) -> None:
        self._send = send
        self._name = name
        #: The loop of its registration, if any; else one of its own, made for its first call.
        self._loop = running_loop()
        self._own: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def __call__(self, delivery: Delivery) -> Any:
        value = self._send(delivery)
        return self._awaited(value, delivery.timeout) if inspect.isawaitable(value) else value

    def _awaited(self, value: Any, timeout: float) -> Any:
        async def call() -> Any:
            return await asyncio.wait_for(value, timeout)

        loop = self._loop or self._own_loop()
        coroutine = call()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            if inspect.iscoroutine(value):
                value.close()
            return Result(False, "the event loop that it was registered in is closed", retry=False)
        try:
            return future.result(timeout + 1.0)
        except TimeoutError:
            future.cancel()
            return Result(False, f"did not answer within {timeout:g} s")

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._own is None:
                self._own = asyncio.new_event_loop()
                threading.Thread(
                    target=_run, args=(self._own,), name=f"fabric-route-loop-{self._name}", daemon=True
                ).start()
            return self._own

    def forked(self) -> None:
        """In the child of a fork: its own loop ran on a thread of the parent."""
        self._lock, self._own = threading.Lock(), None
        if callable(forked := getattr(self._send, "forked", None)):
            forked()

    def close(self) -> None:
        """Stop its own loop, and call the sender's `close` if it has one."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.call_soon_threadsafe(own.stop)
        if callable(close := getattr(self._send, "close", None)):
            try:
                close()
            except Exception as error:
                logger.warning("closing the sender %s failed: %s", self._name, error)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
