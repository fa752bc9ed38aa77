"""Delivery inside one process: the local bus, its subscriptions, and the ways to read events from it.

This room knows nothing of other processes: whoever connects a bus attaches itself as its `Outside`. Start reading in
`bus`.
"""
