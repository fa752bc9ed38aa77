"""Output to a terminal or a pipe: escaping, tables, numbers, and a screen that is redrawn.

Independent of the fabric. The modules can be read in any order.
"""
