"""The words that fabric and proxy share: topics and patterns, envelopes, and the frames of both planes.

Everything here is pure: values in, values out. Encoders are strict; decoders raise `WireError` (or `BadMessage`) and
nothing else, whatever the bytes. This room knows neither sockets nor nodes nor the proxy. Start reading in `topics`, then
`events` (the event plane's frames) and `verbs` (the message plane's).
"""
