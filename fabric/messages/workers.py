"""Workers: they run an endpoint's handler on the messages in its inbox, and answer the requests among them.

    sync handler     `count` threads of their own
    async handler    `count` tasks on the event loop that ran when the endpoint was made

One worker keeps the order of the messages. The handler's return value answers a request; its exception is logged, and
answers a request with an error. Workers end when the inbox is closed and empty.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fabric.bus.buffer import Buffer
from fabric.bus.loop_queue import running_loop
from fabric.errors import FabricError
from fabric.messages.message import Handler, Message

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("fabric.endpoint")


class HandlerWorkers:
    """The workers of the endpoint `name`. They start at once.

    RuntimeError for an async handler without a running event loop.
    """

    def __init__(self, name: str, handler: Handler, inbox: Buffer[Message], count: int) -> None:
        #: Messages that the handler has finished with.
        self.handled = 0
        self._name = name
        self._inbox = inbox
        self._lock = threading.Lock()  # around `handled`
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        if is_async:
            self._start_tasks(handler, count)
        else:
            self._start_threads(handler, count)

    @property
    def may_wait(self) -> bool:
        """Whether this thread may wait for the handler: not if it runs the handler, nor if no thread runs its loop."""
        if self._loop is not None:
            return self._loop.is_running() and running_loop() is not self._loop
        return threading.current_thread() not in self._threads

    def _start_threads(self, handler: Handler, count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=self._work, args=(handler,), name=f"fabric-{self._name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _start_tasks(self, handler: Callable[[Message], Awaitable[Any]], count: int) -> None:
        loop = self._loop = running_loop()
        if loop is None:
            raise RuntimeError(
                f"the async handler of {self._name!r} needs an event loop: call node.endpoint() inside a coroutine"
            )
        for _ in range(count):
            task = loop.create_task(self._work_async(handler))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _work(self, handler: Handler) -> None:
        while True:
            try:
                message = self._inbox.get()
            except FabricError:
                return
            try:
                value = handler(message)
                if inspect.iscoroutine(value):
                    value.close()
                    raise TypeError("the handler returned a coroutine: give an `async def` itself")
                message.reply(value)
            except BaseException as error:  # sys.exit(), too: it would end this thread, and leave the name without one
                self._failed(message, error)
            self._done()

    async def _work_async(self, handler: Callable[[Message], Awaitable[Any]]) -> None:
        while True:
            try:
                message = await self._inbox.aget()
            except FabricError:
                return
            try:
                message.reply(await handler(message))
            except Exception as error:
                self._failed(message, error)
            self._done()

    def _done(self) -> None:
        with self._lock:
            self.handled += 1

    def _failed(self, message: Message, error: BaseException) -> None:
        facts = (self._name, message.id, message.sender)
        logger.error("the handler of %r failed on message %s from %r", *facts, exc_info=error)
        message.fail(error)
