"""One file a command, in the folders that `fabric --help` groups them by.

A command is a thin shell: options, one call into the library, and what is printed. Start reading in `cli.main`, which has
the table of commands.
"""
