"""The state machine of a node's half of the message plane: frames in, frames and outcomes out.

Pure: no socket, no thread, no clock (`now` is an argument). Start reading in `session`; its counterpart in the proxy is
`proxy.messages.directory`.
"""
