"""The base of all errors: each says what was given, where, why it cannot be, and what to do."""

from __future__ import annotations


class EqualizedLRError(Exception):
    """The base of all errors of this library."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), str(self))


def _restore(kind: type[EqualizedLRError], message: str) -> EqualizedLRError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error
