"""The long row of everything at once: what is not harmed itself neither grows nor leaks."""

import os
from pathlib import Path
from time import monotonic

from tests.acceptance.rows import FULL, full, memory_of, record, row
from tests.chaos.faults import kinds_on
from tests.chaos.run import Options, Run

#: Faults that end the proxy: then there is no one whose memory could be watched.
DEADLY = {"proxy killed", "node out of descriptors", "proxy out of descriptors", "socket file deleted"}
#: Workers that no fault hits.
SPARED = ("subscriber-0-recovers", "publisher-0", "sender")
#: Bytes a second: one MiB a minute.
SLOPE = 2**20 / 60
#: Seconds at the beginning that do not count: pools and caches fill.
WARM = 120.0


@row("mixed")
def test_mixed_load_with_faults_neither_grows_nor_leaks():
    seconds = full(6.0, 600.0)
    kinds = [kind for kind in kinds_on("ipc") if kind not in DEADLY]
    samples = {}
    begun = monotonic()

    def look(world):
        pids = {"proxy": world.proxy.pid} | {name: world.lives[name].program.pid for name in SPARED}
        for name, pid in pids.items():
            samples.setdefault(name, []).append((monotonic() - begun, memory_of(pid), *_used(pid)))

    said = []
    options = Options(seconds, 12, every=full(0.5, 8.0), kinds=kinds, spared=SPARED, burst=full(1_000, 10_000))
    run = Run(options, say=said.append)
    assert run(look) == [], "\n".join(said)
    slopes = {name: _slope([each for each in rows if each[0] >= WARM]) for name, rows in samples.items()}
    late = {name: [each for each in rows if each[0] >= full(0.0, WARM)] for name, rows in samples.items()}
    record(
        "mixed",
        f"mixed load for {seconds / 60:.0f} minutes, a fault every 10 s",
        "memory grows < 1 MiB a minute after the first two, descriptors ± 2, threads constant, all accounted for",
        mib_a_minute={name: round(slope * 60 / 2**20, 3) for name, slope in slopes.items()},
        descriptors={
            name: [min(each[2] for each in rows), max(each[2] for each in rows)] for name, rows in late.items()
        },
        threads={name: [min(each[3] for each in rows), max(each[3] for each in rows)] for name, rows in late.items()},
    )
    for name, rows in late.items():
        assert len({each[3] for each in rows}) == 1, f"threads of {name}"
    if FULL:
        for name, slope in slopes.items():
            assert slope < SLOPE, name
        for name in SPARED:
            descriptors = [each[2] for each in late[name]]
            assert max(descriptors) - min(descriptors) <= 2, name


def _used(pid):
    return len(os.listdir(f"/proc/{pid}/fd")), len(list(Path(f"/proc/{pid}/task").iterdir()))


def _slope(samples):
    """Least squares: bytes a second."""
    if len(samples) < 2:
        return 0.0
    mean_at = sum(each[0] for each in samples) / len(samples)
    mean = sum(each[1] for each in samples) / len(samples)
    above = sum((each[0] - mean_at) * (each[1] - mean) for each in samples)
    return above / sum((each[0] - mean_at) ** 2 for each in samples)
