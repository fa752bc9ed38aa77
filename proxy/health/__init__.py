"""Whether the proxy serves: probes through both planes, the service manager, and the file names of the sockets.

This room does not know the contents of messages and events. Start reading in `watchdog`.
"""
