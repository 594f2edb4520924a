"""What can go wrong with the embedded servers."""


class EmbeddedError(Exception):
    """An embedded server can't be set up; the message says what to do."""

    code = "embedded_server"
    permanent = True
