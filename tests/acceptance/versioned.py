"""A node that does as a line of JSON says, of whichever version of the fabric PYTHONPATH leads to."""

import json
import sys
import time

import fabric


class Versioned:
    """One node; `seen` is what its subscriptions got."""

    def __init__(self, url, name):
        self.node = fabric.connect(name, url=url, bus=fabric.Bus(), autostart=False)
        self.node.wait_ready(10)
        self.seen = []

    def subscribe(self, pattern, **options):
        self.node.subscribe(pattern, self.seen.append, **options).wait_ready(10, everyone=True)
        return {"file": fabric.__file__}

    def publish(self, topic, count):
        for number in range(count):
            self.node.publish(topic, {"n": number, "from": self.node.name})
        return {}

    def got(self, count):
        until = time.monotonic() + 10
        while len(self.seen) < count and time.monotonic() < until:
            time.sleep(0.01)
        return {"seen": [[event["src"], event["n"]] for event in self.seen], "missed": self.node.stats()["missed"]}

    def hold(self, name):
        self.node.endpoint(name, lambda message: {"answer": message.body["n"] * 2, "by": self.node.name}).wait_ready(10)
        return {}

    def request(self, name, n):
        return {"answer": self.node.request(name, {"n": n}, timeout=10).wait(10)}

    def send(self, name, count):
        receipts = [self.node.send(name, {"n": n}, timeout=30) for n in range(count)]
        return {"delivered": sum(receipt.wait(30) for receipt in receipts)}

    def names(self):
        return {"endpoints": sorted(each["endpoint"] for each in self.node.endpoints())}

    def state(self):
        return {"state": self.node.state}


def main():
    peer = Versioned(*sys.argv[1:3])
    for line in sys.stdin:
        command = json.loads(line)
        sys.stdout.write(json.dumps(getattr(peer, command.pop("do"))(**command)) + "\n")
        sys.stdout.flush()
    peer.node.close()


if __name__ == "__main__":
    main()
