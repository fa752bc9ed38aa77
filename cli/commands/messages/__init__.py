"""Commands about endpoints: send, ask, listen, act on what arrives, and who is there."""
