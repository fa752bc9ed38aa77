"""Log records as events: every process that subscribes receives the records of a program.

    python examples/log_events.py

While it runs, `fabric tap 'log.**'` in another terminal shows the same.
"""

import logging

import fabric

prices = {"apple": 2}


def main() -> None:
    # Two buses, so that this program can act as two processes. A process of its own just calls connect().
    with fabric.connect("shop", bus=fabric.Bus()) as shop, fabric.connect("watcher", bus=fabric.Bus()) as watcher:
        shop.wait_ready(20)
        watcher.wait_ready(20)

        # Once in a program; records below the level never become events.
        logging.getLogger().addHandler(fabric.logging_handler(level="INFO", node=shop))
        logging.getLogger().setLevel("INFO")

        # Errors of all loggers, and all records of the till. No other record leaves the shop's process.
        errors = watcher.capture("log.error.**")
        till = watcher.capture("log.*.shop.till.**")
        errors.wait_ready(20)
        till.wait_ready(20)

        logging.getLogger("shop.till").info("sold %s", "an apple", extra={"price": prices["apple"]})
        logging.getLogger("shop.stock").info("two apples left")
        try:
            print(prices["durian"])
        except KeyError:
            logging.getLogger("shop.stock").exception("no such fruit")

        for event in [*till.wait(1, timeout=20), *errors.wait(1, timeout=20)]:
            print(event["src"], event["type"], event["message"], event.get("extra", ""))
            if "exception" in event:
                print("    ", event["exception"].splitlines()[-1])


if __name__ == "__main__":
    main()
