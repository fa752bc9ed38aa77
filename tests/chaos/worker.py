"""One process of a fabric under load, told what to do as `tests/system/peer.py` is: JSON in, JSON out, line by line.

Started with url, name, and what it is: `thread` (callbacks on the delivery thread) or `asyncio` (callbacks on a loop).

    verb        does                                                                      answers
    ready       wait until the node is ready
    subscribe   in the background, until it is ready for everyone; `recover`
    publish     in the background: `topics` in turn, `rate` a second until `halt`
    burst       `count` events at once, from the same thread
    halt        end publishing                                                            how many of each topic
    hold        an endpoint that writes the numbers it handles to a file
    send        messages in the background, `rate` a second until `silence`
    silence     end that; every receipt is settled                                        outcomes, by number
    slow        handlers take that many seconds                                           (0: at once)
    step        the clock (`time.time`) jumps by so many seconds
    squeeze     no descriptor may be opened beyond `spare` more; `release` takes it back
    expect      an event published `since` then; `state` says when it came (`fresh_at`)
    unsubscribe
    lap         what took how long since the last lap: delivery, and `publish` itself     p50, p99, longest
    state       where it is
    report      counters, the ledger, what the process uses
    close       the node, within `timeout`

It ends with its input, and with whoever started it.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from array import array
from collections import deque
from pathlib import Path

# Before anything of the fabric is imported: it takes `time` by name.
_real_time = time.time
_offset = 0.0
time.time = lambda: _real_time() + _offset

sys.path.insert(0, str(Path(__file__).parents[2]))

import fabric  # noqa: E402
from tests.chaos.ledger import Track  # noqa: E402

PR_SET_PDEATHSIG = 1
#: Latencies kept of one lap, the last ones: this process's own memory is watched, too.
KEPT = 65_536
KEPT_COSTS = 20_000


class Laps:
    """How long something took, since the last look."""

    def __init__(self, kept):
        self._taken = deque(maxlen=kept)
        self.add = self._taken.append

    def lap(self):
        taken = sorted(self._taken.copy())
        self._taken.clear()
        if not taken:
            return {"count": 0, "p50": None, "p99": None, "longest": None}
        return {
            "count": len(taken),
            "p50": taken[len(taken) // 2],
            "p99": taken[min(len(taken) * 99 // 100, len(taken) - 1)],
            "longest": taken[-1],
        }


class Publishing(threading.Thread):
    """Publishes until told to stop: at a rate, and in bursts. Numbers each topic's events from 0."""

    def __init__(self, node, topics, rate, pad, costs, count=None):
        super().__init__(daemon=True)
        self.node = node
        self.topics = topics
        self.published = dict.fromkeys(topics, 0)
        self.rate = rate
        self.count = count
        self.pad = "x" * pad
        self.bursts = 0
        self.halted = threading.Event()
        self.costs = costs
        self._origin = node.origin.hex()
        self._next = 0

    def run(self):
        start, done = time.monotonic(), 0
        while not self.halted.is_set() and (self.count is None or self._next < self.count):
            while self.bursts:
                self.bursts -= 1
                self._publish()
            if not self.rate:
                if self.count is None:
                    self.halted.wait(0.01)
                else:
                    self._publish()
                continue
            ahead = start + done / self.rate - time.monotonic()
            if ahead > 0:
                self.halted.wait(ahead)
            elif ahead < -1.0:
                start, done = time.monotonic(), 0  # it was stopped: what it did not publish then, it never will
            self._publish()
            done += 1

    def _publish(self):
        topic = self.topics[self._next % len(self.topics)]
        self._next += 1
        number = self.published[topic]
        began = time.monotonic()
        self.node.publish(topic, {"o": self._origin, "n": number, "at": began, "pad": self.pad})
        self.costs.add(time.monotonic() - began)
        self.published[topic] = number + 1


class Sending(threading.Thread):
    """Sends numbered messages until told to stop."""

    def __init__(self, node, to, rate, timeout):
        super().__init__(daemon=True)
        self.node, self.to, self.rate, self.timeout = node, to, rate, timeout
        self.halted = threading.Event()
        self._open = deque()  # receipts not settled yet
        self._delivered = array("q")
        self._others = []

    def run(self):
        number = 0
        while not self.halted.wait(1.0 / self.rate):
            try:
                self._open.append((number, self.node.send(self.to, {"n": number}, timeout=self.timeout)))
            except fabric.FabricError as error:
                self._others.append((number, type(error).__name__))
            number += 1
            while self._open and self._open[0][1].done:
                self._note(*self._open.popleft())
        while self._open:
            number, receipt = self._open.popleft()
            with contextlib.suppress(Exception):
                receipt.wait(self.timeout + 5.0)
            self._note(number, receipt)

    def _note(self, number, receipt):
        if receipt.state == "delivered":
            self._delivered.append(number)
        else:
            self._others.append((number, type(receipt.error).__name__ if receipt.done else "never settled"))

    def outcomes(self):
        return [*((number, "delivered") for number in self._delivered), *self._others]


class Worker:
    """See the module. Verbs return what is answered."""

    def __init__(self, url, name, settings):
        self.bus = fabric.Bus()
        self.track = Track()
        self.delivery, self.costs = Laps(KEPT), Laps(KEPT_COSTS)
        self.links = []
        self.handling = 0.0
        #: When the newest event that was delivered had been published, monotonic.
        self.newest = 0.0
        self.fresh_since = self.fresh_at = 0.0
        self.problems = []
        self.bus.subscribe("fabric.gap", lambda event: self.track.gap(event["origin"], event["topic"], event["missed"]))
        self.bus.subscribe("fabric.link.*", lambda event: self.links.append((event["type"], time.monotonic())))
        self.node = fabric.connect(name, url=url, bus=self.bus, autostart=False, **settings)
        self.publishing = None
        self.sending = None
        self.subscriptions = []
        self.endpoint = None
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def ready(self, timeout=10.0):
        self.node.wait_ready(timeout)
        return {"origin": self.node.origin.hex()}

    # Events in

    def subscribe(self, pattern, recover=False):
        subscription = self.bus.subscribe(pattern, self.note(), recover=recover)
        self.subscriptions.append(subscription)
        threading.Thread(target=self._settle, args=(subscription,), daemon=True).start()
        return {}

    def _settle(self, subscription):
        while subscription.active:
            try:
                subscription.wait_ready(2.0, everyone=True)
            except fabric.FabricError:
                continue  # a fault: somebody is stopped, or the proxy is
            self.track.settle()
            return

    def note(self):
        track, lap = self.track, self.delivery.add

        def note(event):
            now, at = time.monotonic(), event["at"]
            lap(now - at)
            self.newest = max(self.newest, at)
            if self.fresh_since and at >= self.fresh_since:
                self.fresh_since, self.fresh_at = 0.0, now
            track.event(event["o"], event["type"], event["n"])
            if self.handling:
                time.sleep(self.handling)  # a slow handler is what is tested, not what is waited for

        return note

    def expect(self, since):
        self.fresh_since, self.fresh_at = since, 0.0
        return {}

    def unsubscribe(self):
        self.track.settled = False
        while self.subscriptions:
            self.subscriptions.pop().cancel()
        return {}

    def slow(self, seconds):
        self.handling = seconds
        return {}

    # Events out

    def publish(self, topics, rate, pad=0, count=None):
        self.publishing = Publishing(self.node, topics, rate, pad, self.costs, count)
        self.publishing.start()
        return {}

    def burst(self, count):
        self.publishing.bursts = count
        return {}

    def halt(self):
        if self.publishing is None:
            return {"published": {}}
        self.publishing.halted.set()
        self.publishing.join()
        return {"published": self.publishing.published}

    # Messages

    def hold(self, name, log):
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def handle(message):
            os.write(descriptor, b"%d\n" % message.body["n"])

        threading.Thread(target=self._hold, args=(name, handle), daemon=True).start()
        return {}

    def _hold(self, name, handle):
        self.endpoint = self.node.endpoint(name, handle, policy="replace")

    def send(self, to, rate, timeout=10.0):
        self.sending = Sending(self.node, to, rate, timeout)
        self.sending.start()
        return {}

    def silence(self):
        self.sending.halted.set()
        self.sending.join()
        return {"outcomes": self.sending.outcomes()}

    # Faults from within

    def step(self, seconds):
        global _offset
        _offset += seconds
        return {}

    def squeeze(self, spare=0):
        soft = len(os.listdir("/proc/self/fd")) - 1 + spare  # the listing itself had one
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, self.limits[1]))
        return {"limit": soft}

    def release(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)
        return {}

    # What there is to tell

    def lap(self):
        return {"delivery": self.delivery.lap(), "publish": self.costs.lap()}

    def state(self):
        return {
            "state": self.node.state,
            "settled": self.track.settled,
            "delivered": self.track.delivered,
            "newest": self.newest,
            "fresh_at": self.fresh_at,
            "published": sum(self.publishing.published.values()) if self.publishing else 0,
            "bursts": max(self.publishing.bursts, 0) if self.publishing else 0,
            "waiting": self.node.stats().get("waiting", 0),
            "held": self.endpoint is not None and self.endpoint.state == "registered",
            "links": self.links,
        }

    def report(self):
        return {"stats": self.node.stats(), "track": self.track.report(), "used": used()}

    def close(self, timeout=None):
        began = time.monotonic()
        return {"abandoned": self.node.close(timeout), "seconds": time.monotonic() - began}


def used():
    """What this process uses: bytes, descriptors, threads."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "bytes": pages * resource.getpagesize(),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,
        "threads": threading.active_count(),
    }


def serve(worker, call):
    """Answer line by line until the input ends; `call(function)` runs it where the worker lives."""
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = call(lambda command=command: getattr(worker, command.pop("do"))(**command))
        except Exception as error:  # the driver judges, and goes on
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def serve_on_loop(url, name, settings):
    """The worker lives in an event loop: its subscriptions are handled there. What blocks is called beside it."""
    import asyncio

    # A loop that is stuck is one of the faults: what can be told without it, is.
    blocking = {"ready", "halt", "silence", "close", "report", "state", "lap", "release", "squeeze", "slow", "step"}

    async def live():
        loop = asyncio.get_running_loop()
        worker = Worker(url, name, settings)
        done = loop.create_future()

        def read():
            try:
                for line in sys.stdin:
                    command = json.loads(line)
                    verb = getattr(worker, name := command.pop("do"))
                    try:
                        answer = verb(**command) if name in blocking else on_loop(verb, command)
                    except Exception as error:
                        answer = {"error": f"{type(error).__name__}: {error}"}
                    sys.stdout.write(json.dumps(answer) + "\n")
                    sys.stdout.flush()
            finally:
                loop.call_soon_threadsafe(done.set_result, None)

        def on_loop(verb, command):
            async def run():
                return verb(**command)

            return asyncio.run_coroutine_threadsafe(run(), loop).result()

        threading.Thread(target=read, daemon=True).start()
        await done
        await worker.node.aclose(0.5)

    asyncio.run(live())


def main():
    url, name, kind, settings = sys.argv[1], sys.argv[2], sys.argv[3], json.loads((sys.argv[4:] or ["{}"])[0])
    # Stopped processes do not see that their input has ended.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if kind == "asyncio":
        serve_on_loop(url, name, settings)
        return
    worker = Worker(url, name, settings)
    serve(worker, lambda function: function())
    worker.node.close(0.5)


if __name__ == "__main__":
    main()
