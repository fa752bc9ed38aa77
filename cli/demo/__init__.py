"""The parts of `fabric demo`: a machine to watch, and who watches it."""
