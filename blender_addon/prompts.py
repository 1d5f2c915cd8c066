"""Prompts to pick from: examples by category, and those that the artist used last (kept for the user, in no scene)."""

import json
from functools import lru_cache
from pathlib import Path

from . import service
from .costs import write_json

MOST = 30
_EXAMPLES = Path(__file__).with_name("examples.json")
_used: "list[str] | None" = None


@lru_cache(maxsize=1)
def examples() -> "dict[str, list[str]]":
    """Category -> prompts that the models know well."""
    return json.loads(_EXAMPLES.read_text(encoding="utf-8"))


def history() -> "list[str]":
    """The prompts that were used last, the newest first."""
    global _used
    if _used is None:
        _used = []
        try:
            stored = json.loads(_file().read_text(encoding="utf-8"))
            _used = [text for text in stored if isinstance(text, str) and text.strip()][:MOST]
        except FileNotFoundError:
            pass  # none yet
        except (OSError, ValueError, TypeError) as error:
            service.log.warning("the former prompts cannot be read: %s", error)
    return _used


def remember(prompt: str) -> None:
    """Put a prompt at the top of the history."""
    prompt = " ".join(prompt.split())
    if not prompt:
        return
    used = history()
    used[:] = [prompt, *(other for other in used if other != prompt)][:MOST]
    _keep(used)


def clear() -> None:
    """Forget the history."""
    history().clear()
    _keep([])


def forget() -> None:
    """Read the file again at the next look."""
    global _used
    _used = None


def _keep(used: "list[str]") -> None:
    try:
        write_json(_file(), used)
    except OSError as error:
        service.log.warning("the prompts could not be kept: %s", error)


def _file() -> Path:
    return service.user_folder("memory") / "prompts.json"
