"""A process with a node, attacked by its proxy; told what to do as `tests.system.peer` is.

{"do": "stats"}                            the node's counters, what was seen, and which threads live
{"do": "publish", "topic": …, "n": …}      publish one event
{"do": "request", "to": …, "n": …}         ask an endpoint, and answer with what it said
"""

import json
import sys
import threading

import fabric


class Victim:
    """See the module."""

    def __init__(self, url):
        bus = fabric.Bus()
        self.seen = []
        self.node = fabric.connect("victim", url=url, bus=bus, autostart=False)
        self.node.subscribe("a.**", lambda event: None)
        self.node.subscribe("by.stander", lambda event: self.seen.append(event["n"]))
        # History and recovery are fuzzed with it.
        self.node.subscribe("a.b", lambda event: None, recover=True)
        self.endpoint = self.node.endpoint("worker", lambda message: message.body.get("n"))

    def stats(self):
        threads = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("fabric-"))
        return {"stats": self.node.stats(), "state": self.node.state, "seen": self.seen, "threads": threads}

    def publish(self, topic, n):
        self.node.publish(topic, {"n": n})
        return {}

    def request(self, to, n):
        return {"answer": self.node.request(to, {"n": n}, timeout=20).wait(20)}


def main():
    victim = Victim(sys.argv[1])
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(victim, command.pop("do"))(**command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    victim.node.close()


if __name__ == "__main__":
    main()
