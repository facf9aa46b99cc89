"""The training loop and what it needs: optimiser, checkpoints, ranks, the log of losses."""
