"""The protocol that fabric and proxy share: topics and patterns, names, envelopes, and the frames of both planes.

Pure functions and values. Encoders are strict; decoders raise `WireError` and nothing else, whatever the bytes. This room
does not know sockets, nodes or the proxy. Start reading in `topics`, then `events` (the frames of the event plane) and
`verbs` (those of the message plane; `fields` and `json_fields` are the kinds of frames in it).
"""
