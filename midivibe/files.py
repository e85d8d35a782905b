"""Writing files so that nothing is ever half-written: to a temporary name in the same folder, then renamed. Reading JSON."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from midivibe.errors import InputError, OutputError

_ONE_AT_A_TIME = Lock()
"""The umask is the process's; to read it is to change it for a moment."""


LARGEST_JSON = 4_000_000
"""Bytes of a file of settings or of a plan; ours take some thousands."""


def read_json(path: str | Path, what: str) -> dict[str, Any]:
    """The JSON object in a file of `what`: "settings" or "plan". Raises InputError."""
    import json

    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_JSON + 1)
        values = json.loads(data) if len(data) <= LARGEST_JSON else None
    except FileNotFoundError:
        raise InputError(f"no {what} file at {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {what} from {path}: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no {what}: that is a JSON object of up to {LARGEST_JSON:,} bytes")
    return values


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path with the same suffix; renamed to `path` if the block succeeds, removed if it does not.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full. An old file at `path` stays whole.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        with _ONE_AT_A_TIME:
            umask = os.umask(0)
            os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
