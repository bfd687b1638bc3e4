"""Buckets for tests: gs:// and s3:// by a folder on this disk, as object stores behave.

Only the last step, the requests to the store, is replaced: the package's code, `etils.epath` and
fsspec are what reads and writes. There are no folders, only names of objects that have slashes in
them; an object is seen when it was written to the end; nothing is appended and nothing is renamed.

Processes that a test starts see the same buckets after `install`.
"""

import contextlib
import io
import os
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from etils.epath import backend, gpath
from fsspec.registry import _registry
from fsspec.spec import AbstractFileSystem

from vidgan_jax import files

FOLDER = "VIDGAN_JAX_TEST_BUCKETS"


class Buckets(AbstractFileSystem):
    """All buckets, in the folder that the environment names.

    Attributes:
      requests: what was asked for since `requests.clear()`: a verb, an object's name, bytes.
      broken: where it is set, writing fails with what a library without manners raises.
    """

    protocol: ClassVar[tuple[str, ...]] = ("gs", "gcs", "s3")
    cachable = False
    requests: ClassVar[list[tuple[str, str, int]]] = []
    broken: ClassVar[bool] = False
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Objects and prefixes one level below; an object itself."""
        path = self._name(path)
        found: dict[str, dict[str, Any]] = {}
        for name, size in self._objects().items():
            if name == path:
                found[name] = {"name": name, "size": size, "type": "file"}
            elif name.startswith(f"{path}/"):
                below, *more = name[len(path) + 1 :].split("/")
                key = f"{path}/{below}"
                kind = {"size": 0, "type": "directory"} if more else {"size": size, "type": "file"}
                found[key] = {"name": key, **kind}
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else sorted(found)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Of an object, or of a prefix that some have."""
        path = self._name(path)
        objects = self._objects()
        if path in objects:
            return {"name": path, "size": objects[path], "type": "file"}
        if any(name.startswith(f"{path}/") for name in objects):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Nothing: there are no folders."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing: there are no folders."""

    def rm_file(self, path: str) -> None:
        """Removes an object."""
        self._disk(path).unlink()

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """A part of an object, by one request."""
        with self._disk(path).open("rb") as file:
            file.seek(start or 0)
            data = file.read(-1 if end is None else end - (start or 0))
        self.requests.append(("read", self._name(path), len(data)))
        return data

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Puts an object; with "create", where there is none."""
        if self.broken:
            raise RuntimeError("the store has no time")
        target = self._disk(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if mode == "create" and target.exists():
                raise FileExistsError(path)
            files.write_bytes(target, bytes(value))
        self.requests.append(("write", self._name(path), len(value)))

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Puts a file of this disk."""
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode == "rb":
            return io.BytesIO(self.cat_file(path))
        if mode == "wb":
            return _Written(self, path)
        raise NotImplementedError(f"mode {mode!r}")

    def _name(self, path: str) -> str:
        return str(self._strip_protocol(path)).strip("/")

    def _disk(self, path: str) -> Path:
        """One file an object, all in one folder: names with slashes are only names."""
        return Path(os.environ[FOLDER]) / urllib.parse.quote(self._name(path), safe="")

    def _objects(self) -> dict[str, int]:
        found = {}
        for file in Path(os.environ[FOLDER]).iterdir():
            with contextlib.suppress(FileNotFoundError):  # removed by another thread
                if not file.name.startswith("."):
                    found[urllib.parse.unquote(file.name)] = file.stat().st_size
        return found


class _Written(io.BytesIO):
    """An object in the making: it is there when this is closed."""

    def __init__(self, buckets: Buckets, path: str) -> None:
        super().__init__()
        self._buckets, self._path = buckets, path

    def close(self) -> None:
        if not self.closed:
            self._buckets.pipe_file(self._path, self.getvalue())
        super().close()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[str]:
    """Buckets in a folder meanwhile; yields one's address."""
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder))
        patch.setattr(gpath, "_is_tf_installed", lambda: False)  # epath would prefer TensorFlow
        for scheme in Buckets.protocol:
            patch.setitem(_registry, scheme, Buckets)
        patch.setattr(Buckets, "broken", False)
        Buckets.requests.clear()
        _forget()
        try:
            yield "gs://bucket"
        finally:
            _forget()


def _forget() -> None:
    """What was opened before is opened anew."""
    files._filesystem.cache_clear()
    type(backend.fsspec_backend)._get_filesystem.cache_clear()


def install(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Has processes that a test starts find the buckets, too: as an installed package's.

    Args:
      folder: gets what an installed package has on disk.
      patch: undoes it.
    """
    about = folder / "buckets-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: buckets\nVersion: 0\n")
    lines = [f"{scheme} = tests.buckets:Buckets" for scheme in Buckets.protocol]
    (about / "entry_points.txt").write_text("\n".join(["[fsspec.specs]", *lines, ""]))
    patch.syspath_prepend(folder)


def upload(folder: Path, where: str) -> str:
    """Copies a folder's files to a bucket, as a user does by the store's own tool."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files.write_bytes(f"{where}/{path.relative_to(folder)}", path.read_bytes())
    return where


def listed(where: str) -> list[str]:
    """Names of all objects below a place, sorted."""
    prefix = len(where.partition("://")[2].strip("/")) + 1
    return sorted(name[prefix:] for name in files.filesystem(where).find(where))
