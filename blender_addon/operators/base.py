"""What buttons share: one sentence for why they cannot be pressed, and one for what went wrong."""

from .. import runtime, service
from ..translations import tr


class Polled:
    """Mix-in: the button can be pressed where ``why_not(context)`` says nothing, and its tooltip says what it says."""

    @classmethod
    def poll(cls, context):
        problem = cls.why_not(context)
        if problem:
            cls.poll_message_set(tr(problem.rstrip(".")))
        return not problem


def failed(operator, error: service.Error) -> "set[str]":
    """Report an error, keep it in the panel; what ``execute`` returns."""
    runtime.show_error(error)
    operator.report({"ERROR"}, tr(str(error)))
    return {"CANCELLED"}
