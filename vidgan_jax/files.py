"""Files that are whole or not there, on disks and in buckets (gs://, s3://).

On a disk: written under a temporary name, then renamed. In a bucket: written here, then put there;
an object is seen when all of it has come, and what was there until then stays.
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator
from typing import Any, cast

# Processes on two machines that write to one shared folder may have the same number.
_PROCESS = secrets.token_hex(4)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# Scheme → the extra that reads and writes there. Those for which Orbax has a driver, too.
_EXTRAS = {"gs": "gcs", "s3": "s3"}
_SLIP = re.compile(rf"({'|'.join(_EXTRAS)}):/?[^/]")
_BUCKETS = tuple(f"{scheme}://" for scheme in _EXTRAS)


def path(where: str | os.PathLike[str]) -> pathlib.Path:
    """A path from what a user, or a config, says: on a disk, or in a bucket.

    `pathlib.Path("gs://bucket")` would lose a slash. What names a bucket becomes an `epath.Path`,
    which is used like one of `pathlib`; its `stat` differs (`size` is here), and so do `absolute`
    and `resolve`, which take it for a name in the working directory (`absolute` is here).

    Raises:
      ValueError: of another scheme, without a bucket, or what reads buckets is not installed.
    """
    text = os.fspath(where)
    named = _SCHEME.match(text)
    if named is None:
        if any(bucket in text for bucket in _BUCKETS):
            raise ValueError(
                f"{text}: a bucket stands at the beginning of a path; sources as tfds: and "
                "arrayrecord: read disks only"
            )
        if (slip := _SLIP.match(text)) is not None:
            raise ValueError(f"{text}: a bucket is named by two slashes, {slip[1]}://BUCKET/…")
        return pathlib.Path(where)
    scheme, rest = named.groups()
    if scheme not in _EXTRAS:
        raise ValueError(f"{text}: files are on disks, gs:// and s3://, not on {scheme}://")
    if not rest.partition("/")[0]:
        raise ValueError(f"{text}: names no bucket; write {scheme}://BUCKET/FOLDER")
    _filesystem(scheme)
    from etils import epath  # only here: it takes a while, and most paths are on disks

    return cast(pathlib.Path, epath.Path(text))


def is_remote(where: str | os.PathLike[str]) -> bool:
    """Whether a path is in a bucket."""
    return os.fspath(where).startswith(_BUCKETS)


def refuse_remote(where: str | os.PathLike[str], why: str) -> None:
    """Refuses a path in a bucket.

    Args:
      where: the path.
      why: what to do instead.

    Raises:
      ValueError: the path is in a bucket.
    """
    if is_remote(where):
        raise ValueError(f"{os.fspath(where)}: must be a folder on a disk; {why}")


def absolute(where: str | os.PathLike[str]) -> pathlib.Path:
    """`path`, from the root of its disk; a bucket's is that already."""
    found = path(where)
    return found if is_remote(found) else found.absolute()


def size(where: str | os.PathLike[str]) -> int:
    """Bytes of a file.

    Raises:
      FileNotFoundError: there is no such file; it is a folder.
    """
    if is_remote(where):
        with _errors_of(where):
            found = filesystem(where).info(os.fspath(where))
        if found["type"] != "file":
            raise FileNotFoundError(f"{os.fspath(where)} is no file")
        return int(found["size"])
    status = os.stat(where)
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(f"{os.fspath(where)} is no file")
    return status.st_size


def read_bytes(where: str | os.PathLike[str]) -> bytes:
    """Reads a whole file.

    Raises:
      FileNotFoundError: there is no such file.
      OSError: it can't be read.
    """
    if not is_remote(where):
        return pathlib.Path(where).read_bytes()
    with _errors_of(where):
        return bytes(filesystem(where).cat_file(os.fspath(where)))


def read_range(where: str | os.PathLike[str], offset: int, num_bytes: int) -> bytes:
    """Reads a part of an object in a bucket, by one request; fewer bytes where it ends.

    From any thread. The libraries ask again by themselves where a connection breaks.

    Raises:
      FileNotFoundError: there is no such object.
      OSError: it can't be read.
    """
    with _errors_of(where):
        found = filesystem(where).cat_file(os.fspath(where), start=offset, end=offset + num_bytes)
    return bytes(found)


def filesystem(where: str | os.PathLike[str]) -> Any:
    """What reads and writes a bucket: an `fsspec.AbstractFileSystem`."""
    return _filesystem(os.fspath(where).partition("://")[0])


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary name, always on a disk, which becomes `path` when the block ends well.

    The temporary file keeps `path`'s suffix, since encoders choose their format by it, and lies
    beside `path` where that is on a disk. Whatever ends the block early, an interrupt included,
    removes the temporary file.

    Raises:
      OSError: of the block's own writing, of the rename, or of a bucket.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="vidgan_jax-") as folder:
            temporary = pathlib.Path(folder) / os.path.basename(os.fspath(path))
            yield temporary
            if not temporary.exists():
                raise FileNotFoundError(f"{os.fspath(path)}: nothing was written")
            with _errors_of(path):
                filesystem(path).put_file(str(temporary), os.fspath(path))
        return
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp-{os.getpid()}-{_PROCESS}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # The system tells of a full disk without a name; what has no number is not its own.
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: str | os.PathLike[str]) -> None:
    """Removes what killed processes have left of files for a folder; buckets have nothing such.

    Nobody may be writing there.

    Raises:
      OSError: it can't be removed.
    """
    if not is_remote(folder):
        for temporary in pathlib.Path(folder).glob(".*.tmp-*"):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to `path` atomically.

    Raises:
      OSError: it can't be written.
    """
    if is_remote(path):
        with _errors_of(path):
            filesystem(path).pipe_file(os.fspath(path), data)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` to `path` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Makes a folder, and writes and removes a file there.

    Raises:
      OSError: that can't be done.
    """
    if is_remote(folder):
        probe = path(folder) / f".probe-{os.getpid()}-{_PROCESS}"
        write_bytes(probe, b"")
        remove(probe)
        return
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def create(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to an object in a bucket that does not exist yet; of several, one succeeds.

    Raises:
      FileExistsError: it exists.
      OSError: it can't be written.
    """
    with _errors_of(path):
        filesystem(path).pipe_file(os.fspath(path), data, mode="create")


def remove(path: str | os.PathLike[str]) -> None:
    """Removes an object in a bucket, if there is one.

    Raises:
      OSError: it can't be removed.
    """
    with _errors_of(path), contextlib.suppress(FileNotFoundError):
        filesystem(path).rm_file(os.fspath(path))


def remove_folder(path: str | os.PathLike[str]) -> None:
    """Removes a folder with all that is in it, on a disk or in a bucket, if there is one.

    Raises:
      OSError: it can't be removed.
    """
    if not is_remote(path):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
        return
    with _errors_of(path), contextlib.suppress(FileNotFoundError):
        filesystem(path).rm(os.fspath(path), recursive=True)


def remove_listed(report: str | os.PathLike[str], suffixes: Collection[str]) -> None:
    """Removes the files that an earlier report in a folder lists under "files"; nothing else.

    Without it, files of the earlier run would lie beside those of the new one and look like them.
    The report goes last: a run that is killed here leaves the next one its list.

    Args:
      report: JSON, maybe not there, or not one of ours.
      suffixes: of files that a report may list.
    """
    report = path(report)
    try:
        listed = json.loads(read_bytes(report))["files"]
        names = {name for name in listed if isinstance(name, str)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # no report, or not one of ours, or of a version that listed no files
    # By what lies in the folder: a listed name can't lead out of it, whoever wrote the list.
    for file in list(report.parent.iterdir()):
        if file.name in names and file.suffix in suffixes and not file.is_dir():
            file.unlink()
    report.unlink()


@functools.cache
def _filesystem(scheme: str) -> Any:
    """Opens what reads and writes buckets.

    Raises:
      ValueError: it is not installed; the extra to install.
    """
    try:
        import fsspec

        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise ValueError(
            f"{scheme}:// needs a package that is not installed ({error}); install "
            f'"vidgan-jax[{_EXTRAS[scheme]}]"'
        ) from error
    # What other processes have written is seen. For all instances: `epath` makes its own.
    protocols = (kind.protocol,) if isinstance(kind.protocol, str) else kind.protocol
    for protocol in protocols:
        fsspec.config.conf.setdefault(protocol, {}).setdefault("use_listings_cache", False)
    return fsspec.filesystem(scheme)


@contextlib.contextmanager
def _errors_of(where: str | os.PathLike[str]) -> Iterator[None]:
    """Each library of a bucket has errors of its own: those that are no `OSError` become one."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise OSError(f"{os.fspath(where)}: {kind}: {error}") from error
