"""The one error that users see."""


class BuildError(Exception):
    """Something a user can mend: what is wrong, and what to do about it.

    build.py prints both and exits with 1, without a traceback.

    :param message: one line, what is wrong.
    :param hint: one line, the way out.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotThere(BuildError):
    """A server answers, and does not have what was asked for."""


class Lost(BuildError):
    """An answer that did not come: what was asked for may have been done, or not."""
