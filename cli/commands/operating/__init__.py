"""Commands for operators: the proxy, its health, settings, and diagnosis."""
