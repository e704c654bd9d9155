"""What a request to this room can be refused with."""


class SweepError(ValueError):
    """A request that cannot be carried out; the message says what is wrong and what to do about it."""
