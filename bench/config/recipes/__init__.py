"""The recipes that come with the suite, one TOML file each."""
