"""Compiled programs on disk: what one run has compiled, the next one finds.

Training keeps its programs in the workdir, and so goes on at once where it was stopped. What reads
a checkpoint keeps them in the user's cache instead: programs are executed, and a checkpoint may be
somebody else's. Whoever sets JAX_COMPILATION_CACHE_DIR has them there and nowhere else.

Of several processes JAX lets the first one write; all of them read.
"""

import contextlib
import hashlib
import os
import platform
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from vidgan_jax import files

FOLDER = "programs"
# Compiling less than this takes no longer than reading.
_MIN_COMPILE_S = 0.5
_KEPT_DAYS = 60
_DIRECTORY = "jax_compilation_cache_dir"
_OF_XLA = "jax_persistent_cache_enable_xla_caches"
_MIN_TIME = "jax_persistent_cache_min_compile_time_secs"
_ZSTD = b"\x28\xb5\x2f\xfd"


@contextlib.contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Keeps what is compiled meanwhile in a folder, and reads what lies there.

    Nothing is made before the first program is compiled, and nothing fails where nothing can be
    written: JAX warns, and compiles. Does nothing where the user has another place for programs.
    """
    before = {name: jax.config.values[name] for name in (_DIRECTORY, _MIN_TIME, _OF_XLA)}
    if before[_DIRECTORY]:
        yield
        return
    folder = _of_this_machine(folder)
    try:
        _remove_cut_short(folder)
    except PermissionError as error:
        _tell(f"{error.strerror}: {folder}")
        yield
        return
    jax.config.update(_DIRECTORY, str(folder))
    if files.is_remote(folder):
        jax.config.update(_OF_XLA, "none")  # XLA would keep its own beside, and knows no buckets
    if _MIN_TIME.upper() not in os.environ:
        jax.config.update(_MIN_TIME, _MIN_COMPILE_S)
    compilation_cache.reset_cache()  # JAX asks for the folder once only
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@contextlib.contextmanager
def kept_for_user() -> Iterator[None]:
    """`kept_in` the user's cache, out of which the old ones go; a decorator of commands, too."""
    try:
        folder = user_folder()
    except RuntimeError as error:  # of a user without a home
        _tell(str(error))
        yield
        return
    oldest = time.time() - _KEPT_DAYS * 24 * 3600
    with contextlib.suppress(PermissionError):  # told by the next
        for path in folder.rglob("*-cache"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
    with kept_in(folder):
        yield


def _tell(why: str) -> None:
    print(f"warning: compiled programs are not kept ({why})", file=sys.stderr)


def user_folder() -> Path:
    """Below `$XDG_CACHE_HOME/vidgan_jax`, or `~/.cache/vidgan_jax`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vidgan_jax" / FOLDER


def _of_this_machine(folder: Path) -> Path:
    """A folder for each kind of CPU that programs run on.

    A cluster's nodes may share the workdir but not all instructions, and XLA runs a program that
    needs others all the same.
    """
    if jax.default_backend() != "cpu":
        return folder
    described = {platform.machine(), platform.processor()}
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        described |= {line for line in lines if line.startswith(("flags", "Features"))}
    digest = hashlib.sha256("\n".join(sorted(described)).encode()).hexdigest()
    return folder / f"cpu-{digest[:8]}"


def _remove_cut_short(folder: Path) -> None:
    """Removes programs whose writing was ended by a kill, or by a full disk.

    JAX writes each in place, once: it would compile this one at every start, and warn. In buckets
    all objects are whole.

    Raises:
      PermissionError: the folder can't be read.
    """
    if files.is_remote(folder) or not folder.is_dir():
        return
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.name.endswith("-cache") and not _is_whole(path.read_bytes()):
                path.unlink()


def _is_whole(program: bytes) -> bool:
    stream: Any = zlib.decompressobj()
    damaged: type[Exception] = zlib.error
    if program.startswith(_ZSTD):  # as JAX writes where it is installed
        try:
            import zstandard
        except ImportError:
            return True  # no telling; nor does JAX read it
        stream, damaged = zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError
    try:
        stream.decompress(program)
    except damaged:
        return False
    return bool(stream.eof)
