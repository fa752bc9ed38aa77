"""Files of rules become values: TOML, and the YAML of the packages that rules replace.

This room runs nothing. Start reading in `file`, then `parse`.
"""
