"""A node's half of the message plane: endpoints, sending, receipts, and the DEALER towards the proxy.

What is said on the wire, and what follows from it, is decided in `session/`, without sockets. This room does not know
events. Start reading in `messaging`.
"""
