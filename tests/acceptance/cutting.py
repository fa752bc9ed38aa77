"""Run in a private network with lengths in seconds: pulls the cable of half of a fabric for each, and says what followed.

One line of JSON: for each cut when either end noticed (seconds after it, None: not at all), and when events flowed again
(seconds after it was healed); and at the end the account of both subscribers.
"""

import json
import sys
import threading
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).parents[2]))

import fabric
from fabric.testing import wait_until
from tests.chaos.verdict import Published, problems_of, row
from tests.chaos.world import World

TOPICS = ["load.a", "load.b"]


def subscribe(recover):
    return lambda life: life("subscribe", pattern="load.**", recover=recover)


def pause(seconds):
    threading.Event().wait(seconds)


def main(lengths):
    with World(far=True) as world:
        plain = world.add("plain", subscribe(False), far=True)
        recovering = world.add("recovering", subscribe(True), far=True)
        publisher = world.add("publisher", lambda life: None)
        for life in (plain, recovering):
            wait_until(lambda life=life: life("state")["settled"], what="a subscriber is ready")
        publisher("ready")
        publisher("publish", topics=TOPICS, rate=200, pad=100)
        lost = []
        bus = fabric.Bus()
        with fabric.connect("watcher", url=world.proxy.url, bus=bus, autostart=False) as watcher:
            bus.subscribe("fabric.node.lost", lambda event: lost.append(monotonic()))
            watcher.wait_ready(10)
            cuts = [cut(world, length, (plain, recovering), lost) for length in lengths]
        topics = publisher("halt")["published"]
        stats = publisher("report")["stats"]
        published = [Published("publisher", stats["origin"], topics, stats)]
        rows = {}
        for name, life in (("plain", plain), ("recovering", recovering)):
            account(name, life, published, rows)
        sys.stdout.write(
            json.dumps({"cuts": cuts, "rows": {name: each._asdict() for name, each in rows.items()}}) + "\n"
        )


def account(name, life, published, rows):
    def is_accounted_for():
        rows[name] = row(name, life("report"), published)
        return not problems_of(rows[name], from_the_start=True)

    wait_until(is_accounted_for, 30.0, f"{name} is accounted for")


def cut(world, length, lives, lost):
    pause(0.5)
    lost.clear()
    known = [len(life("state")["links"]) for life in lives]
    world.far.cut()
    begun = monotonic()
    pause(length)
    world.far.heal()
    healed = monotonic()
    for life in lives:
        life("expect", since=healed)
    wait_until(lambda: all(life("state")["fresh_at"] for life in lives), 60.0, "events flow again")
    back = max(life("state")["fresh_at"] for life in lives) - healed
    downs = [
        at - begun
        for life, before in zip(lives, known, strict=True)
        for what, at in life("state")["links"][before:]
        if what == "fabric.link.down"
    ]
    wait_until(lambda: all(life("state")["state"] == "up" for life in lives), 30.0, "the links are up")
    return {
        "seconds": length,
        "far_noticed": max(downs, default=None),
        "proxy_noticed": max(lost) - begun if lost else None,
        "back": back,
    }


if __name__ == "__main__":
    main([float(each) for each in sys.argv[1:]])
