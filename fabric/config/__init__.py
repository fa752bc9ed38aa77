"""Sources of settings, for nodes and for the proxy: arguments, environment, a TOML file, defaults.

This room reads files and the environment, and opens no socket. It does not know the effect of a setting.

    settings       the settings of a node; loads any settings class; reads the TOML file
    schema         one row of the table of settings, from which help, documentation and checks are generated
    address        the proxy's URL, parsed; the embedded default
    toml_lines     the line of a key in a TOML file, for error messages
    endpoint_name  the name of a program's endpoint

Start reading in `settings`.
"""
