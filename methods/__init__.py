"""Method plugins: ``base`` is the contract, every other module or folder here is one method."""
