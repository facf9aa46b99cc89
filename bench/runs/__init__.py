"""One run from configuration to record: what is planned, done and still to do."""
