"""Compiled programs on disk: where they lie, whose folder counts, what is done about damage."""

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from vidgan_jax.train import programs

DIRECTORY, MIN_TIME = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a user starts: without a place for programs; all that is compiled is worth keeping."""
    before = {name: jax.config.values[name] for name in (DIRECTORY, MIN_TIME)}
    jax.config.update(DIRECTORY, None)
    jax.config.update(MIN_TIME, 0.0)
    monkeypatch.setenv(MIN_TIME.upper(), "0.0")
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compile_program(factor: float) -> None:
    """Compiles a program that no other test has; in-memory caches know nothing of it."""
    jax.jit(lambda x: jnp.tanh(x * factor))(jnp.ones(3)).block_until_ready()


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*-cache") if "lambda" in path.name)


def test_a_program_is_written_once_and_found_again(no_cache: None, tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    with programs.kept_in(folder):
        assert not folder.exists()  # nothing is compiled yet
        compile_program(0.125)
    (written,) = kept(folder)
    content = written.read_bytes()
    when = written.stat().st_mtime_ns
    with programs.kept_in(folder):
        compile_program(0.125)
    (found,) = kept(folder)
    assert (found, found.read_bytes(), found.stat().st_mtime_ns) == (written, content, when)


def test_what_compiles_fast_is_not_kept(
    no_cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MIN_TIME.upper())
    with programs.kept_in(tmp_path):
        assert jax.config.values[MIN_TIME] == 0.5
        compile_program(1.25)
    assert not kept(tmp_path)
    assert jax.config.values[MIN_TIME] == 0.0


def test_settings_are_as_before_afterwards(no_cache: None, tmp_path: Path) -> None:
    with contextlib.suppress(KeyError), programs.kept_in(tmp_path / "first"):
        compile_program(0.25)
        raise KeyError
    assert jax.config.values[DIRECTORY] is None
    compile_program(0.375)
    with programs.kept_in(tmp_path / "second"):  # JAX must not stay with the first one
        compile_program(0.5)
    assert len(kept(tmp_path / "first")) == len(kept(tmp_path / "second")) == 1


def test_the_user_s_place_wins(no_cache: None, tmp_path: Path) -> None:
    jax.config.update(DIRECTORY, str(tmp_path / "mine"))
    with programs.kept_in(tmp_path / "ours"):
        assert jax.config.values[DIRECTORY] == str(tmp_path / "mine")
    assert jax.config.values[DIRECTORY] == str(tmp_path / "mine")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("cut_to", [0, 100])
def test_a_program_cut_short_is_written_again(no_cache: None, tmp_path: Path, cut_to: int) -> None:
    """By a kill, or a full disk; JAX alone would warn of it at each start, and never mend it."""
    with programs.kept_in(tmp_path):
        compile_program(0.625)
    (written,) = kept(tmp_path)
    content = written.read_bytes()
    written.write_bytes(content[:cut_to])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with programs.kept_in(tmp_path):
            compile_program(0.625)
    (again,) = kept(tmp_path)
    assert again == written
    assert len(again.read_bytes()) == pytest.approx(len(content), rel=0.1)


def test_where_nothing_can_be_written_it_compiles_all_the_same(
    no_cache: None, tmp_path: Path
) -> None:
    """Here a file stands in the folder's way: the permissions of root forbid nothing."""
    (tmp_path / "programs").write_text("")
    with (
        pytest.warns(UserWarning, match="persistent compilation cache"),
        programs.kept_in(tmp_path / "programs"),
    ):
        compile_program(0.75)


def test_the_user_s_cache_forgets_what_is_old(
    no_cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert programs.user_folder() == tmp_path / "vidgan_jax" / "programs"

    @programs.kept_for_user()
    def command(factor: float) -> None:
        compile_program(factor)

    command(0.875)
    (old,) = kept(tmp_path)
    long_ago = time.time() - 61 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    command(1.125)  # a decorated command may be called again
    (new,) = kept(tmp_path)
    assert new != old


def test_another_cpu_has_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = programs._of_this_machine(tmp_path)
    monkeypatch.setattr(programs.platform, "machine", lambda: "another")
    assert programs._of_this_machine(tmp_path) != here
    monkeypatch.setattr(programs.jax, "default_backend", lambda: "gpu")
    assert programs._of_this_machine(tmp_path) == tmp_path


def test_a_folder_that_can_t_be_read_is_told_and_left(
    no_cache: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with programs.kept_in(tmp_path):
        assert jax.config.values[DIRECTORY] is None
    assert "programs are not kept (Permission denied: " in capsys.readouterr().err


def test_a_user_without_a_home_has_no_programs_kept(
    no_cache: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    with programs.kept_for_user():
        assert jax.config.values[DIRECTORY] is None
    assert "not kept (Could not determine home" in capsys.readouterr().err
