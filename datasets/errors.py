"""What can be wrong with data; here, apart from the contract, so that the names cost no import of torch."""


class DataError(Exception):
    """Missing, incomplete or damaged data: one sentence with the remedy, shown without a traceback."""


class MissingData(DataError):
    """The data set is not there at all, so that a protocol which wants it may be skipped."""
