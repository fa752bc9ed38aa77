"""Delivery inside one process: the local bus, its subscriptions, and the ways to read events from it.

This room knows nothing of other processes: the object that connects a bus attaches itself as its `Outside`.

    bus             publish, deliver, subscribe, attach        table        the subscriptions, and the cache of matches
    subscription    values and protocols                       callbacks    runs the callbacks, and finds those that run
    loop_queue      from any thread to an event loop           waiter       block or await
    stream          iterating over events                      buffer       a bounded queue that is blocked on or awaited
    capture         recording events

Start reading in `bus`.
"""
