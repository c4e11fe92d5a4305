"""The one error an administrator sees."""


class HostError(Exception):
    """Something on this machine, a setting for one, that has to be mended.

    :param message: one line, what is wrong.
    :param hint: one line, the way out.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint
