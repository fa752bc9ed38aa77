"""Files of rules → values: TOML, and the YAML of the packages that rules replace.

    file ──▸ watched_file      text, read again when it changes
      ├────▸ formats           text → document, with the lines of its parts
      ├────▸ legacy, shell     YAML document → document of rules; toml_writer → text
      └────▸ parse, actions    document → RuleSet, by way of value

Runs nothing. Start reading in `file`, then `parse`.
"""
