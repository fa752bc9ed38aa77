"""The two publishers of `fabric demo`: measurements of this machine, and alerts about them."""
