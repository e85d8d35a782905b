"""Writing files so that nothing is ever half-written: to a temporary name in the same folder, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from midivibe.errors import OutputError

_ONE_AT_A_TIME = Lock()
"""The umask is the process's; to read it is to change it for a moment."""


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
