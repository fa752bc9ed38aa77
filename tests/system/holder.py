"""A process that holds an endpoint: started with url, name, timeout of its inbox; told what to do as `peer` is.

{"do": "handle", "name": …}      register an endpoint that counts what it handles and answers with how many that were
{"do": "hold", "name": …, "max_inbox": n}     register an endpoint that nobody reads
{"do": "report"}                 sessions had, ids handled
"""

import json
import sys

import fabric


class Holder:
    """See the module."""

    def __init__(self, url, name):
        self.node = fabric.connect(name, url=url, bus=fabric.Bus(), autostart=False)
        self.handled = []
        self.endpoints = []

    def handle(self, name):
        self.endpoints.append(self.node.endpoint(name, self._count))
        self.endpoints[-1].wait_ready(10)
        return {"session": self.endpoints[-1].session}

    def _count(self, message):
        self.handled.append(message.body["n"])
        return len(self.handled)

    def hold(self, name, max_inbox):
        self.endpoints.append(self.node.endpoint(name, max_inbox=max_inbox))
        self.endpoints[-1].wait_ready(10)
        return {"session": self.endpoints[-1].session}

    def report(self):
        return {"handled": self.handled, "sessions": [endpoint.session for endpoint in self.endpoints]}


def main():
    holder = Holder(*sys.argv[1:3])
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(holder, command.pop("do"))(**command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    holder.node.close()


if __name__ == "__main__":
    main()
