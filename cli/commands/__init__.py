"""The commands, one file each, in the folders that are the sections of `fabric --help`.

A command is a thin shell: options, one call into the library, and output. Start reading in `cli.main`, which has the table
of commands.
"""
