"""A stream for scripts: a loop over what has been laid on the rig, in which the motion can be steered and ended."""

from . import live, runtime

WAIT = 0.02  # seconds between two looks, as timers do not fire while a script runs


class Stream:
    """Made by ``api.stream``; iterating gives (first, last) frame of the scene of what is new on the armature.

    While the script does something else the model goes ``ahead`` seconds further and waits. ``action`` is the result
    once the loop has ended. Used in a ``with``, a loop that is left early cancels the motion.
    """

    def __init__(self, started: live.Live):
        self._live, self._task = started, started.task
        self._told = 0

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> "tuple[int, int]":
        self._live.use(self._told)
        try:
            while self._live.laid <= self._told and not self._task.finished:
                self._pump()
        except BaseException:
            self.cancel()
            raise
        if self._live.laid > self._told and not self._task.dropped:
            new = self._live.first + self._told, self._live.first + self._live.laid - 1
            self._told = self._live.laid
            return new
        if self._task.error is not None and not self._task.dropped:
            raise self._task.error
        raise StopIteration

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_error) -> None:
        if not self._task.finished:
            self.cancel()

    @property
    def action(self):
        """The action that holds the motion, also what came before an error; None while the stream runs, and when it
        was cancelled."""
        return self._task.result[0] if self._task.finished and self._task.result else None

    @property
    def prompt(self) -> str:
        """The sentence that the model follows in the newest frames."""
        return self._live.prompt

    def steer(self, prompt: str) -> None:
        """From the next frames that the model makes on: ``prompt``. Raises Error when the motion is ending."""
        self._live.steer(prompt)

    def stop(self):
        """End the motion here; the action of what the loop has seen, None when it has seen nothing. Raises Error."""
        if not self._task.finished:
            self._live.use(self._told)
            self._live.stop()
            self._finish()
        if self._task.error is not None and self._task.error.code != "cancelled":
            raise self._task.error
        return self.action

    def cancel(self) -> None:
        """End the motion and take it away again: the scene is as it was."""
        if not self._task.finished:
            runtime.cancel(self._task)
            self._finish()

    def _finish(self) -> None:
        while not self._task.finished:
            self._pump()

    def _pump(self) -> None:
        self._task.job.incoming.wait(WAIT)
        runtime.pump()
