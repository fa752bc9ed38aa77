"""Measures of the message plane; processes and roles are those of `measures`.

    messages   frames/s of the router: 2 N / (last acknowledgement − first send); SEND and GOT count one each
    request    seconds from request to answer, one request in flight at a time

A message counts as delivered when the sender has its acknowledgement, or answer.
"""

from __future__ import annotations

from benchmarks.measures import Case, Run, each, running

#: Endpoints that are registered, and sent to in turn.
ENDPOINTS = 1_000
_NAME = "worker"


def messages(case: Case, events: int) -> Run:
    """Frames a second."""
    count = max(int(events * case.share), 10)
    with running(case) as ends:
        ends.publisher.ask("aim", targets=ends.subscriber.ask("hold", count=ENDPOINTS))
        warm = max(count // 10, 1)
        ends.publisher.ask("flood", count=warm, within=120)
        before = ends.cpu()
        found = ends.publisher.ask("flood", count=count, within=300)
        used = {name: seconds - before[name] for name, seconds in ends.cpu().items()}
        reached = ends.subscriber.ask("endpoints_reached")
        frames = 2 * count
        return Run(
            frames / found["seconds"],
            {name: seconds / frames for name, seconds in used.items()},
            count,
            # Each endpoint in turn must have received its message, too.
            min(found["acknowledged"], count) - max(min(ENDPOINTS, warm + count) - reached, 0),
            extra=max(found["acknowledged"] - count, 0),
            # Cores in use: the router was the bottleneck if it used somewhat more than one, the rest being its I/O thread.
            details={"endpoints_reached": reached, **{f"cores_{n}": s / found["seconds"] for n, s in used.items()}},
        )


def request(case: Case, events: int) -> Run:
    """Seconds a request takes, the median."""
    count = max(int(events * case.share), 10)
    with running(case) as ends:
        ends.subscriber.ask("serve", name=_NAME)
        before = ends.cpu()
        found = ends.publisher.ask("request", name=_NAME, count=count, within=60 + count / 500)
        # The warm-up is a tenth more, with the same cost per request.
        return Run(found["p50"], each(ends.cpu(), before, 1.1 * count), count, count, details=found)
