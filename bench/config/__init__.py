"""What a run is: recipes, TOML files and ``--set`` to one validated configuration, or a grid of them."""
