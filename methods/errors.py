"""What a method may find wrong; here, apart from the contract, so that the name costs no import of torch."""

from bench.common.errors import UserError


class MethodError(UserError):
    """A user's mistake that a method found: one sentence with the remedy, shown without a traceback."""
