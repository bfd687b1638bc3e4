"""Finding files in folders, and naming them in a data set."""

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path


def walk(
    folder: Path,
    suffixes: Set[str],
    kind: str,
    skipped: list[tuple[str, str]],
    visited: set[str],
) -> Iterator[Path]:
    """Finds the files of one kind in a folder and its sub-folders, following links.

    Args:
      folder: that is searched; hidden folders in it are not.
      suffixes: of the files wanted, in small letters, with the dot.
      kind: what they are, as in "a video".
      skipped: what is left out is put here: (path, reason).
      visited: real paths of folders that are not searched; those that are join them.

    Yields:
      The files, of each folder in the order of their names.
    """

    def on_error(error: OSError) -> None:
        skipped.append((text(error.filename), f"folder cannot be read: {error.strerror}"))

    for directory, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        real = os.path.realpath(directory)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(directory, name)
            if name.startswith("."):
                skipped.append((text(str(path)), "hidden file"))
            elif path.suffix.lower() not in suffixes:
                skipped.append(
                    (text(str(path)), f"suffix {path.suffix or '(none)'} is not {kind}'s")
                )
            elif not path.is_file():
                skipped.append((text(str(path)), "not a file, or a link to nothing"))
            else:
                yield path


def find(
    sources: Sequence[str | os.PathLike[str]],
    suffixes: Set[str],
    kind: str,
    leave_out: str | os.PathLike[str] | None,
) -> tuple[list[tuple[Path, str]], list[tuple[str, str]]]:
    """Finds files among what a user names.

    Args:
      sources: files, which are taken whatever their name, and folders that are searched. A file
        that is found twice is taken once.
      suffixes: see `walk`.
      kind: see `walk`.
      leave_out: a folder that is not searched: the data set's own.

    Returns:
      (file, its name in the data set) in the order of names, and what was left out of the folders:
      (path, reason).

    Raises:
      ValueError: a source does not exist.
    """
    skipped: list[tuple[str, str]] = []
    found: dict[Path, tuple[Path, Path]] = {}
    visited = set() if leave_out is None else {os.path.realpath(leave_out)}
    for source in map(Path, sources):
        if not source.exists():
            raise ValueError(f"--source {source}: no such file or folder")
        root = source if source.is_dir() else source.parent
        searched = walk(source, suffixes, kind, skipped, visited)
        for path in searched if source.is_dir() else [source]:
            found.setdefault(path.resolve(), (root, path))
    names = names_of(list(found.values()))
    files = [(path, name) for (_, path), name in zip(found.values(), names, strict=True)]
    return sorted(files, key=lambda file: file[1]), skipped


def names_of(files: Sequence[tuple[Path, Path]]) -> list[str]:
    """A name for each (folder given, file): the path within, made longer until all differ."""
    names = [text(path.relative_to(root).as_posix()) for root, path in files]
    if len(set(names)) < len(names):
        names = [text(path.absolute().as_posix().lstrip("/")) for _, path in files]
        shared = os.path.commonpath([os.path.dirname(name) for name in names])
        names = [os.path.relpath(name, shared or ".") for name in names]
    if len(set(names)) < len(names):
        names = [f"{number:05d} {name}" for number, name in enumerate(names)]
    return names


def text(name: str) -> str:
    """A file name as UTF-8 can hold it; names need not be."""
    return os.fsencode(name).decode("utf-8", "replace")


def few(names: Iterable[str]) -> str:
    """The first names of many, for a message."""
    shown = [text(name) for name in names]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if shown[3:] else "")
