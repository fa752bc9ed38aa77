"""`fabric tap`: shows events as they come, a line each, or a table of counts. Start reading in `loop`."""
