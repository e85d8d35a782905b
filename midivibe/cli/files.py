"""Where results go: what -o means, a staging folder so that nothing is half-written, and what may not be overwritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from midivibe.errors import InputError, OutputError

AUDIO = (".wav", ".flac", ".ogg", ".mp3")
MIDI = (".mid", ".midi")
MUSIC = (*MIDI, ".kar", ".rmi")
"""Suffixes of MIDI files that are read."""


@dataclass(frozen=True)
class Destination:
    """What -o means: with a suffix it names the file, else a folder."""

    folder: Path
    stem: str
    suffix: str = ""

    @classmethod
    def of(cls, out: str | None, stem: str, suffixes: tuple[str, ...]) -> Destination:
        """`stem` is the name where `out` gives none; raises InputError on a suffix that cannot be written."""
        if out is None:
            return cls(Path(), stem)
        path = Path(out)
        if not path.suffix or path.is_dir() or out.endswith("/"):
            return cls(path, stem)
        if path.suffix.lower() not in suffixes:
            raise InputError(f"cannot write {out}: the suffix must be one of {', '.join(suffixes)}, or -o names a folder")
        return cls(path.parent, path.stem, path.suffix)

    def suffix_or(self, default: str, known: tuple[str, ...]) -> str:
        """The suffix that was asked for, where it is one of `known`."""
        return self.suffix if self.suffix.lower() in known else default


def unused(to: Destination, names: Callable[[str], Sequence[str]]) -> str:
    """The stem, or the stem with the first number from 2 on, none of whose names is a MIDI file there already."""
    stems = chain([to.stem], (f"{to.stem}-{number}" for number in count(2)))
    return next(stem for stem in stems if not any((to.folder / f"{name}.mid").exists() for name in names(stem)))


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the results; gone at the end, whatever happens. Raises OutputError."""
    import shutil
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".midivibe-", dir=folder))
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror or error}") from error
    try:
        yield place
    except OutputError as error:
        raise OutputError(str(error).replace(str(place), str(folder))) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def publish(made: Sequence[Sequence[Path]], folder: Path, inputs: Sequence[str | Path | None]) -> list[list[str]]:
    """Move the finished files of each result into their folder, once all of them exist; returns their paths.

    Raises:
        InputError: a file would overwrite one of the `inputs`.
        OutputError: a file cannot be written there.
    """
    targets = [[folder / path.name for path in paths] for paths in made]
    for target in chain.from_iterable(targets):
        if same(target, inputs):
            raise InputError(f"writing {target} would overwrite an input; choose another -o")
        if target.is_dir():
            raise OutputError(f"cannot write {target}: it is a folder")
    for path, target in zip(chain.from_iterable(made), chain.from_iterable(targets), strict=True):
        try:
            path.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    return [[str(target) for target in group] for group in targets]


def same(target: Path, others: Iterable[str | Path | None]) -> bool:
    """Whether a path is one of some files, however they are named."""
    return target.exists() and any(Path(o).exists() and target.samefile(o) for o in others if o)


def roll_name(folder: Path, name: str, inputs: Iterable[str | Path | None]) -> str:
    """The name of a piano roll: NAME.png, or NAME-roll.png where that is an input, or a picture that is not ours."""
    from midivibe.output.pianoroll import is_roll

    target = folder / f"{name}.png"
    taken = target.is_file() and (not is_roll(target) or same(target, inputs))
    return f"{name}-roll.png" if taken else target.name


def needs(package: str, extra: str = "train") -> None:
    """Raises InputError where a package of one of midivibe's extras is missing."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise InputError(f"this needs {package}; pip install 'midivibe[{extra}]', or pip install {package}")
