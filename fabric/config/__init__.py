"""Where settings come from, for nodes and for the proxy: arguments, environment, a TOML file, defaults.

This room reads files and the environment and opens no socket. It does not know what a setting does. Start reading in
`settings`; `schema` is the table of settings that help, documentation and checks are made from.
"""
