"""One process, no proxy, no network: publish and subscribe inside a program.

    python examples/local_bus.py

Everything here works the same once `fabric.connect()` has been called: then other processes hear it, too.
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
    """A subscriber may publish; what it publishes is delivered before it goes on."""
    fruit = event["fruit"]
    if stock.get(fruit, 0):
        stock[fruit] -= 1
        fabric.publish("order.shipped", {"fruit": fruit, "left": stock[fruit]})
    else:
        fabric.publish("order.refused", {"fruit": fruit, "why": "none left"})


@fabric.on("order.placed")
def broken(event: fabric.Envelope) -> None:
    """What one subscriber does wrong is logged, and is nobody else's problem."""
    if event["fruit"] == "durian":
        raise ValueError("not in this shop")


for fruit in ("apple", "pear", "durian"):
    fabric.publish("order.placed", {"fruit": fruit})
