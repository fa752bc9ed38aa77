"""The event plane: XSUB in, XPUB out, and what looks at the events that pass.

This room does not know messages. Start reading in `plane`.
"""
