"""Rules at work: actions are rendered, run within limits, and counted.

Reads no files but through `fabric.rules.reading.file`. Start reading in `apply`, then `actions` and `runner`; `serve` is
the whole for an endpoint.
"""
