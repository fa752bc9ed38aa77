"""Commands about endpoints: send, request, listen, act on messages by rules, list endpoints and nodes."""
