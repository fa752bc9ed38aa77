"""The `fabric` command: a shell around the library that can do nothing the library cannot."""
