"""The statistics record over HTTP, for Prometheus and health checks (extra `metrics`).

This room only reads the record `proxy.stats`. Start reading in `table`.
"""
