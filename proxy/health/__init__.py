"""Whether the proxy serves: probes through both planes, systemd, and the socket files' names.

This room does not know what passes through the planes. Start reading in `watchdog`.
"""
