"""Where this user's programs keep what can be made again."""

import os
from pathlib import Path


def user_cache() -> Path | None:
    """Our directory there, made if missing; None where nothing can be written to it."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        directory = Path(home) / "hanzo-o11y"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return directory if os.access(directory, os.W_OK) else None
