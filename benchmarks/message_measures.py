"""How a case of the message plane is run; the processes and their roles are those of `measures`.

    messages   frames/s that the router handles: 2 N / (last acknowledgement − first send), SEND and GOT counted each
    request    seconds from asking to the answer, one request under way at a time

What is counted as delivered is what was acknowledged, or answered, to the sender.
"""

from __future__ import annotations

from benchmarks.measures import Case, Run, each, running

#: Registered, and sent to in turn.
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
            # Each endpoint in turn must have had its message, too.
            min(found["acknowledged"], count) - max(min(ENDPOINTS, warm + count) - reached, 0),
            extra=max(found["acknowledged"] - count, 0),
            # Cores in use: the router was the bottleneck if it used one and a bit, its I/O thread being the bit.
            details={"endpoints_reached": reached, **{f"cores_{n}": s / found["seconds"] for n, s in used.items()}},
        )


def request(case: Case, events: int) -> Run:
    """Seconds a request takes, the median."""
    count = max(int(events * case.share), 10)
    with running(case) as ends:
        ends.subscriber.ask("serve", name=_NAME)
        before = ends.cpu()
        found = ends.publisher.ask("request", name=_NAME, count=count, within=60 + count / 500)
        # The warm-up is a tenth more, and costs as much a request.
        return Run(found["p50"], each(ends.cpu(), before, 1.1 * count), count, count, details=found)
