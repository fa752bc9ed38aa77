"""Asynchronous subscribers, and tasks that wait."""

import asyncio
import inspect
import threading

from fabric.testing import await_until


class Recorder:
    """An async subscriber that records its events, and the threads and loops that it ran on."""

    def __init__(self):
        self.events = []
        self.threads = set()
        self.loops = set()

    async def __call__(self, event):
        self.events.append(event)
        self.threads.add(threading.current_thread())
        self.loops.add(asyncio.get_running_loop())


async def started(*coroutines):
    """Tasks of these coroutines, each of which has run until it waits."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await await_until(lambda: all(_is_suspended(task) for task in tasks))
    return tasks


def _is_suspended(task):
    return task.done() or inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_SUSPENDED
