"""What the proxy's statistics look like: pure functions from the record to lines of text.

This room asks nobody and prints nothing. Start reading in `status`.
"""
