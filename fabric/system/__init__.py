"""What fabric and proxy need of the operating system: processes, descriptors, threads, terminals.

Nothing here knows events or messages. There is no order to read in: each module stands by itself.
"""
