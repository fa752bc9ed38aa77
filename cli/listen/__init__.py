"""`fabric listen`: the loop that takes messages, and the handlers: print, run a program, apply rules.

Start reading in `loop`.
"""
