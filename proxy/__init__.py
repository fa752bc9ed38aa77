"""The process in the middle: events pass through it inside libzmq, messages through a directory of endpoints.

Run it with `fabric proxy` or `python -m proxy`. Start reading in `server`, which owns all parts.
"""
