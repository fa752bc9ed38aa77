"""Many nodes in one process: started with url, name, and how many; told what to do as `peer` is.

{"do": "join"}     connect them all, and answer when each is ready
{"do": "heard"}    how many have heard something since the link was last lost, and when the last of them first did
{"do": "state"}    how many nodes are in which state, and how many were told what
"""

import ctypes
import json
import signal
import sys
import threading
import time

import fabric

PR_SET_PDEATHSIG = 1


class Crowd:
    """See the module."""

    def __init__(self, url, name, count):
        self.url, self.name, self.count = url, name, int(count)
        self.nodes = []
        self.first_heard = {}

    def join(self, ready=True):
        for number in range(self.count):
            bus = fabric.Bus()
            bus.subscribe(
                "crowd.**", lambda event, number=number: self.first_heard.setdefault(number, time.monotonic())
            )
            bus.subscribe("fabric.link.down", lambda event, number=number: self.first_heard.pop(number, None))
            self.nodes.append(fabric.connect(f"{self.name}-{number}", url=self.url, bus=bus, autostart=False))
        if ready:
            for node in self.nodes:
                node.wait_ready(60)
        return {"nodes": len(self.nodes)}

    def heard(self):
        heard = dict(self.first_heard)
        return {"nodes": len(heard), "last": max(heard.values(), default=0.0)}

    def state(self):
        states = [node.state for node in self.nodes]
        return {"up": states.count("up"), "nodes": len(states)}

    def ready(self, timeout):
        """Which nodes are ready, and what the others are told."""
        told = []

        def wait(node):
            try:
                node.wait_ready(timeout)
                told.append("ready")
            except fabric.FabricError as error:
                told.append(str(error))

        threads = [threading.Thread(target=wait, args=(node,)) for node in self.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"told": told}

    def leave(self):
        while self.nodes:
            self.nodes.pop().close(0.1)
        return {}


def main():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    crowd = Crowd(*sys.argv[1:4])
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(crowd, command.pop("do"))(**command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    crowd.leave()


if __name__ == "__main__":
    main()
