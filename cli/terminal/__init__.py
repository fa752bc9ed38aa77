"""What is written to a terminal or a pipe, and how: escaping, tables, numbers, a screen that is redrawn.

This room does not know the fabric. There is no order to read in.
"""
