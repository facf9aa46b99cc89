"""Two methods beside each other: by how much one is better, how sure that is, and what papers claim of it."""
