"""Publishers and subscribers for the long rows, and the account at the end. The processes are those of `tests/chaos`."""

import json

from fabric.testing import wait_until
from tests.acceptance.rows import WORKER
from tests.chaos.verdict import Published, problems_of, row


class Load:
    """Workers at one proxy, all there before the first event. `program` is the fixture."""

    def __init__(self, program, url):
        self._program = program
        self._url = url
        self.subscribers = {}
        self.publishers = {}

    def worker(self, name, kind="thread", **settings):
        """One more process, that is ready."""
        worker = self._program(self._url, name, kind, json.dumps(settings), script=WORKER)
        worker("ready")
        return worker

    def subscriber(self, name, pattern="load.**", *, recover=False):
        """One that hears `pattern`, and is ready for everyone."""
        worker = self.subscribers[name] = self.worker(name)
        worker("subscribe", pattern=pattern, recover=recover)
        self.wait_settled(name)
        return worker

    def wait_settled(self, name):
        """Until it is ready for everyone."""
        wait_until(lambda: self.subscribers[name]("state")["settled"], what=f"{name} is ready")

    def publisher(self, name, topics, rate, pad=100):
        """One that publishes on its topics in turn, `rate` a second; 0: only in bursts."""
        worker = self.publishers[name] = self.worker(name)
        worker("publish", topics=topics, rate=rate, pad=pad)
        return worker

    def settle(self, deadline=30.0):
        """Publish no more, and wait until all is accounted for: the row of each subscriber by name.

        AssertionError if something is not.
        """
        published = []
        for name, worker in self.publishers.items():
            wait_until(lambda worker=worker: not worker("state")["bursts"], deadline, f"{name} has published")
            topics = worker("halt")["published"]
            wait_until(lambda worker=worker: not worker("state")["waiting"], deadline, f"{name} has sent everything")
            stats = worker("report")["stats"]
            published.append(Published(name, stats["origin"], topics, stats))
        rows = {}

        def is_accounted_for(name, worker):
            rows[name] = row(name, worker("report"), published)
            return not problems_of(rows[name], from_the_start=True)

        problems = []
        for name, worker in self.subscribers.items():
            try:
                wait_until(lambda name=name, worker=worker: is_accounted_for(name, worker), deadline)
            except AssertionError:
                problems += problems_of(rows[name], from_the_start=True)
        assert not problems
        return rows
