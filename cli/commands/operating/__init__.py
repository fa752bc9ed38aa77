"""Commands for whoever runs a fabric: the proxy, its health, its settings, and what is wrong."""
