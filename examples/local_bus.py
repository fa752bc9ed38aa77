"""Publish and subscribe inside one process, without proxy and network.

    python examples/local_bus.py

The same code works after `fabric.connect()`; then other processes receive the events, too.
"""

import fabric

stock = {"apple": 3}


@fabric.on("order.*")
def log(event: fabric.Envelope) -> None:
    """`*` is one segment, `**` any number of them."""
    details = {key: value for key, value in event.items() if key not in ("type", "ts", "src")}
    print(event["type"], details)


@fabric.on("order.placed")
def ship(event: fabric.Envelope) -> None:
    """A subscriber may publish; its event is delivered before `publish` returns."""
    fruit = event["fruit"]
    if stock.get(fruit, 0):
        stock[fruit] -= 1
        fabric.publish("order.shipped", {"fruit": fruit, "left": stock[fruit]})
    else:
        fabric.publish("order.refused", {"fruit": fruit, "why": "none left"})


@fabric.on("order.placed")
def broken(event: fabric.Envelope) -> None:
    """An exception of a subscriber is logged, and does not affect the others."""
    if event["fruit"] == "durian":
        raise ValueError("not in this shop")


for fruit in ("apple", "pear", "durian"):
    fabric.publish("order.placed", {"fruit": fruit})
