"""Benchmarks of the fabric, compared with bare pyzmq and with its peers: `python -m benchmarks`, see docs/benchmarks.md.

__main__   the command line              groups     groups of cases that are compared
harness    repeats, rotation, ratios     measures   runs one case: starts the processes and asks them
report     the table, the JSON file      processes  workers and servers: started and ended by their handles
servers    the brokers of each system    worker     the program of the publisher's and the subscriber's process
client     the interface of a system, and the event that all systems carry
fabric_client, reference, peers_*        the systems
message_measures                         the rows about addressed messages
drivers, zmtp, reference_router          what drives the proxy there, and the bare loop it is compared with
local, contention                        rows about one process
"""
