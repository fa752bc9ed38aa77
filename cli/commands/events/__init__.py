"""Commands about events: publish, show, count, and trace the subscribers of a topic."""
