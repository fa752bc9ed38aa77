"""`fabric listen`: the loop that takes messages, and what is done with each: printed, run a program for, or ruled.

Start reading in `loop`.
"""
