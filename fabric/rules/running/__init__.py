"""Rules at work: what an item matches is rendered, run within limits, and counted.

This room reads no files but through `fabric.rules.reading.parse`. Start reading in `apply`, then `runner`; `serve` is
the whole for an endpoint.
"""
