"""The one error type that reaches the user."""


class BackendError(Exception):
    """A failure that has been understood: one plain sentence for the artist, a code for programs.

    ``code`` is one of the strings in ``CODES``; ``hint`` says what the user can do; ``retryable`` is true when the
    same request can succeed later without any change.
    """

    CODES = (
        "bad_request",
        "bad_prompt",
        "bad_duration",
        "bad_motion",
        "bad_file",
        "checkpoint_missing",
        "checkpoint_damaged",
        "base_missing",
        "base_mismatch",
        "unknown_model",
        "cancelled",
        "out_of_memory",
        "busy",
        "ending",  # too late to change a motion that is being made
        "abandoned",  # nobody watched it
        "internal",
    )

    def __init__(self, code: str, message: str, hint: str = "", retryable: bool = False):
        if code not in self.CODES:
            raise ValueError(f"unknown error code {code!r}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable
