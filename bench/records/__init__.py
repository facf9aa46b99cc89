"""Where records are kept, what they say of each other, and the ledger: one frame of all numbers."""
