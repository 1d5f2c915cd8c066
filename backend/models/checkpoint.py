"""What every checkpoint folder has: a config.json that holds the hashes of its weights and names the base model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from backend import paths
from backend.errors import BackendError
from backend.language import base

HINT = "Install the weights again."
Config = TypeVar("Config")


def verified(
    folder: Path, make: Callable[[dict], Config], weights: Callable[[Config], list[str]], beside: tuple[str, ...] = ()
) -> tuple[Config, dict]:
    """The configuration of a checkpoint and what config.json says, after all its files were looked at.

    make: the configuration (with ``base``, the hash of the base model) from the values of config.json; weights: the
    files whose SHA-256 config.json has to keep; all that it keeps have to be right. beside: files that only have to be
    there.
    Raises BackendError ``checkpoint_missing``, ``checkpoint_damaged``, ``base_missing`` or ``base_mismatch``.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = make(values)
        hashes = {name: values["sha256"][name] for name in weights(config)} | values["sha256"]
    except FileNotFoundError as error:
        raise BackendError(
            "checkpoint_missing", f"The weights are missing: there is no {folder.name} checkpoint.", HINT
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackendError("checkpoint_damaged", f"The configuration of {folder.name} is damaged.", HINT) from error
    for name in (*beside, *hashes):
        if not (folder / name).is_file():
            raise BackendError(
                "checkpoint_missing", f"The weights are incomplete: {name} of {folder.name} is missing.", HINT
            )
    for name, expected in hashes.items():
        if base.sha256_file(folder / name) != expected:
            raise changed(folder, name)
    if config.base != base.base_hash():
        raise BackendError(
            "base_mismatch",
            "These weights belong to another base language model than the installed one.",
            "Reinstall the base model (python3 build.py setup), or choose other weights.",
        )
    return config, values


def changed(folder: Path, name: str) -> BackendError:
    """The error for a file that is not what it was."""
    return BackendError("checkpoint_damaged", f"The weights are damaged: {name} of {folder.name} has changed.", HINT)


def holder(folder: Path, file: str, wanted: str, hashed: Callable[[Path], str], what: str) -> Path:
    """The folder beside a checkpoint, or among the installed ones, whose ``file`` has the hash ``wanted``.

    hashed: the hash of the file in a folder; what: the file in words. Raises BackendError ``checkpoint_missing``.
    """
    for place in [*folder.parent.glob(f"*/{file}"), *paths.checkpoints_folder().glob(f"*/{file}")]:
        if hashed(place.parent) == wanted:
            return place.parent
    raise BackendError("checkpoint_missing", f"{what} that {folder.name} stands on is not installed.", HINT)
