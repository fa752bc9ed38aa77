"""The event plane: XSUB in, XPUB out, and the threads that observe the events that pass.

This room does not know messages. Start reading in `plane`.
"""
