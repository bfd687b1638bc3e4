"""`prepare check`, `stats` and `browse`, as a user types them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.datasets import SHARD, make_dataset
from vidgan_jax import prepare
from vidgan_jax.data import records


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set to look at; not to be changed."""
    return make_dataset(
        tmp_path_factory.mktemp("sound"),
        num_frames=2,
        label_maps=True,
        image_format="jpeg",
        splits=("train", "validation"),
    )


@pytest.fixture
def dataset(sound: Path, tmp_path: Path) -> Path:
    """A copy to write to, or to damage."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


def _damage(dataset: Path) -> None:
    """Two records of the training shard: 2 and 5."""
    offset = records.load_index(dataset / SHARD).offset
    data = bytearray((dataset / SHARD).read_bytes())
    for number in (2, 5):
        data[offset[number] + 100] ^= 1
    (dataset / SHARD).write_bytes(data)


def test_check_of_a_sound_data_set(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = dataset / "check.json"
    assert prepare.main(["check", str(dataset), "--json", str(file), "--workers", "2"]) == 0
    said = capsys.readouterr()
    assert "read 12 clips in 2 shards" in said.out
    assert "all sound" in said.out
    assert "label_map_score" in said.out
    assert "wall" in said.out
    assert "check: 100 %, 12 clips, " in said.err
    result = json.loads(file.read_text())
    assert (result["ok"], result["faults"], result["num_clips"]) == (True, [], 12)
    assert result["statistics"]["total"]["videos"] == 6


def test_check_lists_all_faults(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _damage(dataset)
    file = dataset / "check.json"
    assert prepare.main(["check", str(dataset), "--json", str(file), "--quiet"]) == 1
    said = capsys.readouterr()
    assert f"bad: {SHARD}, record 2 " in said.err
    assert f"bad: {SHARD}, record 5 " in said.err
    assert "check: " not in said.err
    assert "2 problems" in said.out
    result = json.loads(file.read_text())
    assert not result["ok"]
    assert [(fault["file"], fault["record"]) for fault in result["faults"]] == [
        (SHARD, 2),
        (SHARD, 5),
    ]
    assert result["statistics"]["total"]["clips"] == 10


def test_check_where_nothing_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = make_dataset(tmp_path, num_frames=1, size=4)
    (directory / SHARD).write_text("not a shard")
    file = tmp_path / "check.json"
    assert prepare.main(["check", str(directory), "--json", str(file), "--quiet"]) == 1
    assert "read 0 clips" in capsys.readouterr().out
    assert json.loads(file.read_text())["statistics"] is None


def test_stats(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["stats", str(dataset), "--quiet"]) == 0
    assert "clips of one video: 2 to 2, median 2" in capsys.readouterr().out
    names = ["clips.png", "frames.png", "label_frequency.csv", "label_frequency.md"]
    written = sorted(path.name for path in (dataset / "overview").iterdir())
    assert written == [*names, "statistics.json"]
    out = tmp_path / "elsewhere"
    assert prepare.main(["stats", str(dataset), "--out", str(out), "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((out / "statistics.json").read_text())
    assert prepare.main(["check", str(dataset), "--quiet"]) == 0, "the data set is still one"


def test_stats_of_a_damaged_data_set(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _damage(dataset)
    assert prepare.main(["stats", str(dataset), "--quiet"]) == 1
    assert "bad: 2 faults, which `prepare check` lists" in capsys.readouterr().err
    counted = json.loads((dataset / "overview" / "statistics.json").read_text())
    assert counted["total"]["clips"] == 10
    assert not (dataset / "overview" / "clips.png").exists()


def test_browse(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["browse", str(dataset), "--quiet"]) == 0
    assert "with 12 of 12 clips" in capsys.readouterr().out
    text = (dataset / "overview" / "browse.html").read_text()
    assert "validation-0/0" in text
    out = tmp_path / "new" / "page.html"
    typed = ["browse", str(dataset), "--out", str(out), "--split", "train", "--num", "4"]
    assert prepare.main([*typed, "--workers", "0", "--quiet"]) == 0
    assert "with 4 of 6 clips" in capsys.readouterr().out
    assert "validation-0/0" not in out.read_text()
    megabytes = f"{len(text) / 1e6 - 1e-3:.3f}"
    assert prepare.main([*typed[:4], "--max-mb", megabytes, "--quiet"]) == 0
    assert f"12 clips would take more than --max-mb {megabytes}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["browse", "--num", "0"], "num (=0) must be at least 1"),
        (["browse", "--split", "test"], "no split 'test'; it has ['train', 'validation']"),
        (["browse", "--out", "page"], "must end in .html"),
        (["browse", "--max-mb", "0"], "too little for a single clip"),
        (["stats", "--workers", "-1"], "--workers (=-1) must be at least 0"),
        (["stats", "--out", "{data}/info.json"], "nothing can be written there"),
        (["check", "--json", "{data}/info.json/x"], "nothing can be written there"),
    ],
)
def test_mistakes(
    typed: list[str],
    message: str,
    sound: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *options = (argument.replace("{data}", str(sound)) for argument in typed)
    assert prepare.main([command, str(sound), "--quiet", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize("command", ["check", "stats", "browse"])
def test_no_such_data_set(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main([command, str(tmp_path / "nowhere")]) == 2
    assert "the folder does not exist" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
