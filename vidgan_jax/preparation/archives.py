"""Samples in tar archives, as WebDataset keeps them, and in folders: files that share a name.

A sample is a video, NAME.mp4 or of another video's suffix, with NAME.png or NAME.seg.png, its label
map, and NAME.json. An archive is read in one pass, a member at a time, and never unpacked; the
members of a sample follow one another in it.
"""

import contextlib
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tarfile import EOFHeaderError, HeaderError  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from vidgan_jax.preparation import footage

MAP_SUFFIXES = (".seg.png", ".png")
INFO_SUFFIX = ".json"
# A member is held in memory.
MAX_MEMBER_BYTES = 1 << 30

_SUFFIXES = sorted({*footage.SUFFIXES, *MAP_SUFFIXES, INFO_SUFFIX}, key=len, reverse=True)
_DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class SampleError(ValueError):
    """A sample can't be used; the text names it."""


class Sample(NamedTuple):
    """Files of one name.

    Attributes:
      key: the name, without suffixes, with the folders that it is in.
      where: names it in messages.
      files: by suffix, in small letters, what they hold or where they are.
    """

    key: str
    where: str
    files: Mapping[str, bytes | Path]

    def read(self, suffix: str) -> bytes:
        """What one of its files holds.

        Raises:
          SampleError: it can't be read.
        """
        file = self.files[suffix]
        if isinstance(file, bytes):
            return file
        try:
            return file.read_bytes()
        except OSError as error:
            raise SampleError(f"{file}: cannot be read: {error.strerror}") from error

    def video(self) -> str:
        """The suffix of its video.

        Raises:
          SampleError: it has none, or several.
        """
        found = sorted(suffix for suffix in self.files if suffix in footage.SUFFIXES)
        if len(found) != 1:
            has = ", ".join(sorted(self.files))
            raise SampleError(
                f"{self.where}: has {'no video' if not found else 'several videos'} ({has}); a "
                "sample is one video and its label map, one after the other in the archive"
            )
        return found[0]


def split_name(name: str) -> tuple[str, str] | None:
    """Key and suffix of a sample's file; None for hidden and other files."""
    base = os.path.basename(name)
    for suffix in _SUFFIXES:
        if base.lower().endswith(suffix) and base[0] != "." and len(base) > len(suffix):
            return name[: -len(suffix)], suffix
    return None


def sample_of(video: Path) -> Sample:
    """The sample of a video file, with what is beside it."""
    stem = video.with_suffix("")
    files = {video.suffix.lower(): video}
    for suffix in (*MAP_SUFFIXES, INFO_SUFFIX):
        path = video.with_name(stem.name + suffix)
        if path.is_file():
            files[suffix] = path
    return Sample(stem.name, str(stem), files)


class Archive:
    """A tar archive, compressed or not, read from its start to its end once.

    Attributes:
      damage: what is wrong with the archive itself, told when it has been read; None if nothing.

    Args:
      path: its file.
    """

    def __init__(self, path: Path):
        self.damage: str | None = None
        self._path = path
        self._share = 0.0
        self._last = ""  # The last member of which there is a sound header.

    @property
    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        return self._share

    def samples(self) -> Iterator[Sample | SampleError]:
        """Reads the samples in order.

        Yields:
          Samples, and instead of those of which a member can't be taken, why. Where the archive is
          cut short or damaged it ends, and `damage` says so; what is not whole is not given.

        Raises:
          ValueError: the file can't be read, or is no archive.
        """
        key, files = "", dict[str, bytes | Path]()
        wrong: SampleError | None = None
        for name, suffix, data in self._members():
            if name != key and files:
                yield wrong or self._sample(key, files)
                files, wrong = {}, None
            key = name
            where = f"{self._path.name}: {key}"
            if suffix in files:
                wrong = SampleError(f"{where}: has two {suffix}; a name may be there once only")
            elif data is None:
                wrong = SampleError(
                    f"{where}: its {suffix} has more than {MAX_MEMBER_BYTES:,} bytes"
                )
            files[suffix] = data or b""
        # What follows a last one that was cut off may have been of the same sample.
        if files and (self.damage is None or not self._last.startswith(f"{key}.")):
            yield wrong or self._sample(key, files)

    def _sample(self, key: str, files: Mapping[str, bytes | Path]) -> Sample:
        return Sample(key, f"{self._path.name}: {key}", files)

    def _members(self) -> Iterator[tuple[str, str, bytes | None]]:
        """Key, suffix and content of the files that belong to samples; None for one too large."""
        size = max(self._path.stat().st_size, 1)
        with contextlib.ExitStack() as stack:
            try:
                raw = stack.enter_context(open(self._path, "rb"))
                tar = stack.enter_context(tarfile.open(fileobj=raw, mode="r|*", tarinfo=_Member))
            except _DAMAGE as error:
                raise ValueError(
                    f"{self._path}: is no tar archive ({error}), and its suffix is no video's"
                ) from error
            while True:
                try:
                    member = tar.next()
                    if member is None:
                        break
                    self._last = member.name
                    found = split_name(member.name) if member.isfile() else None
                    data = self._data(tar, member) if found else None
                except _DAMAGE as error:
                    self.damage = self._damaged(str(error))
                    return
                self._share = min(raw.tell() / size, 1.0)
                tar.members = []  # type: ignore[attr-defined]  # It would keep them all.
                if found:
                    yield *found, data
            if not getattr(tar, "has_ended", False):
                self.damage = self._damaged("it has no end")

    @staticmethod
    def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
        if member.size > MAX_MEMBER_BYTES:
            return None
        file = tar.extractfile(member)
        return b"" if file is None else file.read()

    def _damaged(self, what: str) -> str:
        return (
            f"{self._path}: cut short or damaged after {self._last or 'its start'} ({what}); what "
            "is before is taken. Get the file again"
        )


class _Member(tarfile.TarInfo):
    """A member's header; marks archives of which the end was reached.

    The library takes a damaged header, and the end of a file that was cut short, for the end.
    """

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> "_Member":
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            tarfile.has_ended = isinstance(error, EOFHeaderError)
            raise
