"""What a run leaves behind, as types: everything that counts, trains or scores may know them."""
