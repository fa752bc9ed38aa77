"""Views of the proxy's statistics: pure functions from the record to lines of text.

No I/O. Start reading in `status`; `columns` is shared by several views.
"""
