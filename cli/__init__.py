"""The command `fabric`: a shell around the library. It can do nothing that the library cannot."""
