"""`fabric tap`: reading along, one line an event, or a table of counts. Start reading in `loop`."""
