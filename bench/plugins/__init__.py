"""Methods, data sets and protocols by name, and templates of new ones."""
