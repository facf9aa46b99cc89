"""What can be wrong with data; here, apart from the contract, so that the names cost no import of torch."""

from bench.common.errors import UserError


class DataError(UserError):
    """Missing, incomplete or damaged data: one sentence with the remedy, shown without a traceback."""


class MissingData(DataError):
    """The data set is not there at all, so that a protocol which wants it may be skipped."""
