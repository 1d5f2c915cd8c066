"""Where a model runs and how precisely: the words of the command line and the preferences, as PyTorch has them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from backend.errors import BackendError


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on the CPU with one thread, for steps so small that several would only wait for each other (a latent of
    LLaMo takes 31 ms with two threads and 33 ms with one) and take the processor from who shows the frames."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_device(name: str) -> str:
    """ "cpu" or "cuda" for "auto", "cpu" or "cuda". Raises BackendError ``bad_request`` when there is no CUDA."""
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendError("bad_request", "There is no usable CUDA device.", "Choose CPU or automatic.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def choose_precision(name: str, device: str) -> torch.dtype:
    """Of the language model, for "auto", "float32" or "bfloat16": bfloat16 where the processor computes with it."""
    if name == "auto":
        fast = device == "cuda" or torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        name = "bfloat16" if fast else "float32"
    try:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    except KeyError as error:
        raise BackendError(
            "bad_request", f"There is no precision called {name!r}.", "Choose float32 or bfloat16."
        ) from error
