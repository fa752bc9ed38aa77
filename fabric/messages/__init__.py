"""A node's half of the message plane: endpoints, messages, receipts, queries, and the DEALER towards the proxy.

The protocol is in `session/`, a state machine without sockets. This room does not know events. Start reading in
`messaging`.
"""
