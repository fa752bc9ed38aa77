"""What the fabric costs, beside bare pyzmq and beside its peers; `python -m benchmarks`, explained in docs/benchmarks.md.

__main__   the command line              groups     what is compared: groups of cases
harness    repeats, rotation, ratios     measures   how one case is run, by what the processes are told
report     the table, the JSON file      processes  workers and servers: started and ended by their handles
servers    the brokers of each system    worker     what runs in the publisher's and the subscriber's process
client     what a system is asked to do, and the event that all of them carry
fabric_client, reference, peers_*        the systems
message_measures                         the rows about addressed messages
drivers, zmtp, reference_router          what drives the proxy there, and the bare loop it is compared with
local, contention                        rows about one process
"""
