"""Delivery inside one process: the local bus, its subscriptions, and the ways to read events from it.

This room knows nothing of other processes: the object that connects a bus attaches itself as its `Outside`.

    bus             publish, subscribe, attach
    subscription    a subscription; the protocols of the outside and of a stream
    table           the subscriptions, and the cache of matches
    dispatcher      runs callbacks in the call that delivers, or on an event loop
    callbacks       runs one callback; finds the callbacks that a thread is in
    loop_queue      a queue from any thread to an event loop
    waiter          block or await
    closing         a mixin for `with` and `async with`
    buffer          a bounded queue that is blocked on or awaited
    stream          iterates over events
    capture         records events

Start reading in `bus`.
"""
