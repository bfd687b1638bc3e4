"""`python -m vidgan_jax.generate` for models that take label maps, classes and examples."""

import itertools
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.models_on_disk import save_model
from tests.preparation.numbered import write_video
from tests.runs import fields, names, read_json, refuse, succeed, trained
from vidgan_jax import generate
from vidgan_jax.data import media
from vidgan_jax.data.labels import DONT_CARE, class_id, colorize, resize_label_map
from vidgan_jax.synthesis.latents import draw_latents
from vidgan_jax.synthesis.run import run_generator

SIZE, NUM_FRAMES, Z_DIM, NUM_LABELS = 16, 4, 4, 61
SHEETS = ["contact_sheet.gif", "contact_sheet.mp4", "contact_sheet.png", "contact_sheet.webp"]
SKY, SEA = class_id("sky"), class_id("sea")
TINY = (
    *fields(model_size=SIZE, model_features=4, model_max_features=8, model_z_dim=Z_DIM),
    *fields(model_label_features=4, model_num_labels=NUM_LABELS, model_disc_features=4),
    *fields(model_init_scale=2.0, data_resize=SIZE),
)
CLIPS = (*TINY, *fields(model_num_frames=NUM_FRAMES, data_stride=3))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: images and clips, plain and of other kinds."""
    folder = tmp_path_factory.mktemp("models")
    save_model(folder / "images", "spade2d.py:smoke_vae", TINY + encoder_of(2))
    save_model(folder / "clips", "spade3d.py:smoke_vae", CLIPS + encoder_of(2))
    no_latents = fields(model_start="labels", model_instance_edges=True)
    save_model(folder / "labels", "spade2d.py:smoke", (*TINY, *no_latents))
    tiny = fields(model_size=8, model_features=4, model_max_features=8, model_z_dim=Z_DIM)
    classes = fields(model_num_classes=3, model_embed_dim=2, data_resize=8, model_init_scale=2.0)
    save_model(folder / "classes", "resnet2d.py:smoke", (*tiny, *classes))
    return folder


def encoder_of(halvings: int) -> tuple[str, ...]:
    return tuple(fields(model_encoder_time_stages=str(tuple(range(halvings))).replace(" ", "")))


@pytest.fixture
def sketch(tmp_path: Path) -> Path:
    """Sky over sea, 40×24, painted."""
    return draw_map(tmp_path / "sketch.png")


def draw_map(path: Path, *, below: int = SEA) -> Path:
    Image.fromarray(colorize(map_of(below))).save(path)
    return path


def map_of(below: int = SEA) -> np.ndarray:
    ids = np.full((24, 40), SKY, np.uint8)
    ids[12:] = below
    return ids


def run(workdir: Path, out: Path, *options: str) -> dict[str, Any]:
    succeed(generate.main, f"--checkpoint={workdir}", f"--out={out}", *options)
    report: dict[str, Any] = read_json(out / generate.REPORT)
    return report


def examples_of(workdir: Path, cond: np.ndarray, **given: Any) -> np.ndarray:
    latents = given.pop("latents", draw_latents(0, len(cond), Z_DIM, None))
    return run_generator(
        *trained(workdir), jnp.asarray(latents), batch_size=8, cond=cond, **given
    ).astype(int)


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def conds(num: int, *below: int) -> np.ndarray:
    return np.stack([resize_label_map(map_of(b), SIZE) for b in below]).repeat(num, axis=0)


def test_images_of_several_maps(models: Path, sketch: Path, tmp_path: Path) -> None:
    """Map by map, each with the same latents; the sheet's rows begin with the maps."""
    other = draw_map(tmp_path / "other.png", below=DONT_CARE)
    out = tmp_path / "out"
    report = run(models / "images", out, "--label-map", str(sketch), str(other), "--num=3")
    images = [f"image_{i:04d}.png" for i in range(6)]
    maps = ["label_map_0.png", "label_map_1.png"]
    assert names(out) == sorted([*images, *maps, "contact_sheet.png", generate.REPORT])
    latents = np.tile(np.asarray(draw_latents(0, 3, Z_DIM, None)), (2, 1))
    cond = conds(3, SEA, DONT_CARE)
    expected = examples_of(models / "images", cond, latents=latents)
    for name, image in zip(images, expected, strict=True):
        assert np.abs(read_png(out / name) - image).max() <= 1
    assert np.abs(expected[:3] - expected[3:]).max() > 1  # or any map would do
    painted = media.enlarge(colorize(cond[::3]))
    for name, picture in zip(maps, painted, strict=True):
        np.testing.assert_array_equal(read_png(out / name), picture)
    rows = [[painted[i], *media.enlarge(expected[3 * i : 3 * i + 3])] for i in range(2)]
    tiles = np.stack(list(itertools.chain(*rows))).astype(np.uint8)
    sheet = read_png(out / "contact_sheet.png")
    assert np.abs(sheet - media.tile_images(tiles, columns=4)).max() <= 1
    assert report["num"] == 3
    assert report["shape"] == [6, SIZE, SIZE, 3]
    assert (report["class_id"], report["style_from"]) == (None, None)
    assert report["files"] == [*maps, *images, "contact_sheet.png"]
    assert report["label_maps"] == [
        {
            "picture": "label_map_0.png",
            "file": str(sketch),
            "width": 40,
            "height": 24,
            "instance_map": None,
            "classes": [
                {"id": SKY, "name": "sky", "share": 0.5},
                {"id": SEA, "name": "sea", "share": 0.5},
            ],
        },
        {
            "picture": "label_map_1.png",
            "file": str(other),
            "width": 40,
            "height": 24,
            "instance_map": None,
            "classes": [
                {"id": SKY, "name": "sky", "share": 0.5},
                {"id": DONT_CARE, "name": "don't care", "share": 0.5},
            ],
        },
    ]


def test_clips_of_a_map(
    models: Path, sketch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four of a map where nothing else is said; printed rows are the map and a clip's frames."""
    out = tmp_path / "out"
    report = run(models / "clips", out, f"--label-map={sketch}")
    clips = [f"clip_{i:04d}.mp4" for i in range(4)]
    assert names(out) == sorted([*clips, *SHEETS, "label_map_0.png", generate.REPORT])
    assert sorted([*report["files"], generate.REPORT]) == names(out)
    assert (report["num"], report["fps"]) == (4, 8.0)
    expected = examples_of(models / "clips", conds(4, SEA))
    assert expected.shape == (4, NUM_FRAMES, SIZE, SIZE, 3)
    painted = colorize(conds(4, SEA))[:, None].astype(int)
    strips = np.concatenate([painted, expected], axis=1).astype(np.uint8)
    sheet = read_png(out / "contact_sheet.png")
    assert np.abs(sheet - media.filmstrips(media.enlarge(strips))).max() <= 1
    assert "4 clips of a label map of step 0 in" in capsys.readouterr().out


def test_a_path_and_a_sum_of_latents_over_one_map(
    models: Path, sketch: Path, tmp_path: Path
) -> None:
    given = f"--label-map={sketch}"
    report = run(models / "images", tmp_path / "film", given, "--num=3", "--interpolate=2")
    assert report["files"] == ["label_map_0.png", "interpolation.mp4", "contact_sheet.png"]
    assert report["shape"] == [6, SIZE, SIZE, 3]
    run(models / "images", tmp_path / "plain", given, "--num=3")
    plain = [
        read_png(tmp_path / "plain" / name)
        for name in ("label_map_0.png", *(f"image_{i:04d}.png" for i in range(3)))
    ]
    tiles = np.stack([plain[0], *(media.enlarge(image) for image in plain[1:])])
    sheet = media.tile_images(tiles.astype(np.uint8))
    assert np.abs(read_png(tmp_path / "film" / "contact_sheet.png") - sheet).max() <= 1
    report = run(models / "images", tmp_path / "sum", given, "--arithmetic=0 - 1")
    files = ["label_map_0.png", "term_0.png", "term_1.png", "result.png", "contact_sheet.png"]
    assert report["files"] == files
    assert np.abs(read_png(tmp_path / "sum" / "term_0.png") - plain[1]).max() <= 1
    assert report["num"] is None


def test_an_earlier_run_s_maps_are_removed(models: Path, sketch: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(models / "images", out, "--label-map", str(sketch), str(sketch), "--num=1")
    run(models / "images", out, f"--label-map={sketch}", "--num=1")
    expected = ["contact_sheet.png", generate.REPORT, "image_0000.png", "label_map_0.png"]
    assert names(out) == expected


def test_latents_around_an_example(models: Path, sketch: Path, tmp_path: Path) -> None:
    """From a picture or a video, for images and for clips; the mean and deviation are its own."""
    picture = tmp_path / "style.png"
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture)
    given = (f"--label-map={sketch}", f"--style-from={picture}", "--num=2")
    for kind, still in (("images", pixels), ("clips", np.stack([pixels] * NUM_FRAMES))):
        report = run(models / kind, tmp_path / kind, *given)
        assert report["style_from"] == str(picture)
        expected = examples_of(models / kind, conds(2, SEA), styles=np.stack([still] * 2))
        plain = examples_of(models / kind, conds(2, SEA))
        assert np.abs(expected - plain).max() > 1
        if kind == "images":
            found = [read_png(tmp_path / kind / f"image_{i:04d}.png") for i in range(2)]
            assert np.abs(np.stack(found) - expected).max() <= 1


def test_a_video_gives_the_style_in_the_clips_own_time(
    models: Path, sketch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 frames a second, and the model's clips have 8: every third frame; images: the first."""
    frames = [np.full((24, 40, 3), 20 * i, np.uint8) for i in range(12)]
    film = write_video(tmp_path / "film.mp4", frames, fps=24)
    seen = []

    def spy(*arguments: Any, styles: np.ndarray, **given: Any) -> np.ndarray:
        seen.append(styles)
        return run_generator(*arguments, styles=styles, **given)

    monkeypatch.setattr(generate, "run_generator", spy)
    for kind in ("clips", "images"):
        given = (f"--label-map={sketch}", f"--style-from={film}", "--num=2")
        run(models / kind, tmp_path / kind, *given)
    assert [styles.shape for styles in seen] == [
        (2, NUM_FRAMES, SIZE, SIZE, 3),
        (2, SIZE, SIZE, 3),
    ]
    shades = seen[0].astype(int).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(shades, [[0, 60, 120, 180]] * 2, atol=3)
    np.testing.assert_allclose(seen[1], 0, atol=3)


def test_a_model_without_latents_makes_one_of_a_map(
    models: Path, sketch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so where more were asked for; its instances make a difference."""
    given = (f"--label-map={sketch}",)
    report = run(models / "labels", tmp_path / "plain", *given)
    assert (report["num"], report["shape"]) == (1, [1, SIZE, SIZE, 3])
    assert "latents" not in capsys.readouterr().err
    instances = tmp_path / "instances.png"
    halves = (np.arange(40) // 20 * 1000).astype(np.uint16)[None].repeat(24, axis=0)
    Image.fromarray(halves).save(instances)
    more = (*given, f"--instance-map={instances}", "--num=3")
    report = run(models / "labels", tmp_path / "instances", *more)
    assert report["num"] == 1
    assert report["label_maps"][0]["instance_map"] == str(instances)
    said = capsys.readouterr().err
    assert "--num (=3): this model makes one of each label map" in said
    pictures = [read_png(tmp_path / kind / "image_0000.png") for kind in ("plain", "instances")]
    assert np.abs(pictures[0] - pictures[1]).max() > 1
    both = [conds(1, SEA).astype(np.int32), resize_label_map(halves, SIZE)[None].astype(np.int32)]
    expected = examples_of(models / "labels", np.stack(both, axis=-1))
    assert np.abs(pictures[1] - expected[0]).max() <= 1


def test_a_class_of_images(models: Path, tmp_path: Path) -> None:
    report = run(models / "classes", tmp_path, "--class-id=2", "--num=2")
    assert (report["class_id"], report["label_maps"]) == (2, None)
    expected = examples_of(models / "classes", np.full(2, 2))
    others = examples_of(models / "classes", np.full(2, 1))
    assert np.abs(expected - others).max() > 1
    for i, image in enumerate(expected):
        assert np.abs(read_png(tmp_path / f"image_{i:04d}.png") - image).max() <= 1


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("images", [], r"makes frames of label maps \(61 classes\); give some with --label-map"),
        ("classes", ["--label-map={map}"], r"map.png: this model takes no label maps \(.*'resnet'"),
        ("classes", [], "knows 3 classes of images; give one with --class-id, 0 to 2"),
        ("classes", ["--class-id=3"], r"--class-id \(=3\) must be from 0 to 2"),
        ("images", ["--label-map={map}", "--class-id=0"], r"--class-id \(=0\) is of models of cla"),
        ("images", ["--label-map={gone}"], "--label-map .*gone.png: no such file"),
        ("images", ["--label-map={flag}"], "flag.png: holds the id 149, but ids are 0 to 60"),
        ("images", ["--label-map={map}", "--style-from={text}"], "text.txt: is a text file, not"),
        ("labels", ["--label-map={map}", "--style-from={map}"], "has no encoder to take it"),
        ("labels", ["--label-map={map}", "--interpolate=3"], "--interpolate is of latents, and"),
        ("labels", ["--label-map={map}", "--arithmetic=0-1"], "--arithmetic is of latents, and"),
        ("labels", ["--label-map={map}", "--instance-map={small}"], "is 8×8, but its label map .*"),
        ("images", ["--label-map={map}", "--instance-map={map}"], "this model sees no instances"),
        ("images", ["--instance-map={map}"], "--instance-map is of --label-map FILE; give that"),
        ("images", ["--nearest-colours"], "--nearest-colours is of --label-map FILE; give that"),
        ("images", ["--label-map={map}", "--num=0"], r"--num \(=0\) must be at least 1"),
        (
            "labels",
            ["--label-map", "{map}", "{map}", "--instance-map", "{map}"],
            "--instance-map gives 1 files and --label-map 2; give one for each",
        ),
        (
            "images",
            ["--label-map", "{map}", "{map}", "--interpolate=2"],
            "--interpolate takes one label map, and --label-map gives 2",
        ),
        (
            "clips",
            ["--label-map={map}", "--style-from={short}"],
            "short.mp4: too short: 4 frames at 8 a second take 0.50 s",
        ),
    ],
)
def test_mistakes_are_told_before_any_work(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.delattr(generate, "run_generator")
    places = {name: tmp_path / f"{name}.png" for name in ("map", "flag", "gone", "small")}
    places |= {"text": tmp_path / "text.txt", "short": tmp_path / "short.mp4"}
    draw_map(places["map"])
    Image.fromarray(np.full((4, 4), 149, np.uint8)).save(places["flag"])
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(places["small"])
    places["text"].write_text("sky and sea\n" * 60)
    if any("{short}" in option for option in options):
        write_video(places["short"], [np.zeros((24, 40, 3), np.uint8)] * 4, fps=24)
    filled = [option.format_map(places) for option in options]
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        raise ValueError(
            refuse(capsys, generate.main, f"--checkpoint={models / kind}", f"--out={out}", *filled)
        )
    assert not out.exists()


def test_near_colours_are_taken_where_asked(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rough = tmp_path / "rough.jpg"
    draw_map(rough)
    said = refuse(
        capsys,
        generate.main,
        f"--checkpoint={models / 'images'}",
        f"--label-map={rough}",
        f"--out={tmp_path / 'out'}",
    )
    assert "rough.jpg: is JPEG, which need not keep ids and colours" in said
    given = (f"--label-map={rough}", "--nearest-colours", "--num=1")
    report = run(models / "images", tmp_path / "out", *given)
    assert report["nearest_colours"] is True
    shares = {c["name"]: c["share"] for c in report["label_maps"][0]["classes"]}
    assert shares["sky"] + shares["sea"] > 0.8


def test_truncation_bounds_the_noise_around_an_example(
    models: Path, sketch: Path, tmp_path: Path
) -> None:
    """With next to no noise all latents are the mean's: equal pictures."""
    picture = draw_map(tmp_path / "style.png")
    given = (f"--label-map={sketch}", f"--style-from={picture}", "--num=2", "--truncation=1e-4")
    run(models / "images", tmp_path / "out", *given)
    images = [read_png(tmp_path / "out" / f"image_{i:04d}.png") for i in range(2)]
    assert np.abs(images[0] - images[1]).max() <= 1
