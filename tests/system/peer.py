"""One process of a fabric, told what to do line by line (see `running`): JSON in, JSON out.

{"do": "subscribe", "pattern": …}            subscribe, and answer when it is ready
{"do": "publish", "count": n, "rate": r, …}  publish in the background: `topics` in turn, `i` counts all of them
{"do": "wait"}                               answer when that is over: how many, and how long `publish` took at most
{"do": "report"}                             what arrived, and the node's counters
{"do": "close", "timeout": s}                close the node, and answer how many events were abandoned
"""

import json
import sys
import threading
import time

import fabric


class Peer:
    """See the module."""

    def __init__(self, url, name):
        bus = fabric.Bus()
        self.seen = []
        self.handling = 0.0
        self.links = []
        self.gaps = []
        bus.subscribe("fabric.link.*", lambda event: self.links.append((event["type"], time.monotonic())))
        bus.subscribe("fabric.gap", lambda event: self.gaps.append((event["topic"], event["missed"])))
        self.node = fabric.connect(name, url=url, bus=bus, autostart=False)
        self.thread = None
        self.published = 0
        self.longest = 0.0
        self.halting = threading.Event()

    def subscribe(self, pattern, handling=0.0, everyone=False):
        def note(event):
            self.seen.append(event["i"])
            if handling:
                time.sleep(handling)  # a slow handler is what is tested, not what is waited for

        self.node.subscribe(pattern, note).wait_ready(10, everyone=everyone)
        return {"ready": True}

    def ready(self):
        self.node.wait_ready(10)
        return {"ready": True}

    def publish(self, topics, count, rate, pad=0):
        self.thread = threading.Thread(target=self._publish, args=(topics, count, rate, "x" * pad))
        self.thread.start()
        return {"publishing": count}

    def _publish(self, topics, count, rate, pad):
        start = time.monotonic()
        for i in range(count):
            if rate and self.halting.wait(max(start + i / rate - time.monotonic(), 0.0)):
                return
            before = time.monotonic()
            self.node.publish(topics[i % len(topics)], {"i": i, "pad": pad})
            self.longest = max(self.longest, time.monotonic() - before)
            self.published += 1

    def halt(self):
        """Publish no more; `wait` says how many were."""
        self.halting.set()
        return {}

    def progress(self):
        return {"published": self.published}

    def wait(self):
        self.thread.join()
        return {"published": self.published, "longest": self.longest}

    def report(self):
        return {"seen": list(self.seen), "links": self.links, "gaps": self.gaps, "stats": self.node.stats()}

    def close(self, timeout=None):
        start = time.monotonic()
        return {"abandoned": self.node.close(timeout).events, "seconds": time.monotonic() - start}


def main():
    peer = Peer(*sys.argv[1:3])
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(peer, command.pop("do"))(**command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    peer.node.close()


if __name__ == "__main__":
    main()
