"""Commands about events: publish, read along, count, and who would get one."""
