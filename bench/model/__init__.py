"""The network that all methods share, its weights, and how whole images are predicted."""
