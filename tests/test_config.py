"""The schema's refusals: every field's type, every rule, by the words a user reads."""

import copy
import dataclasses
import typing
from typing import Any

import pytest

from configs import resnet3d
from vidgan_jax import config as schema
from vidgan_jax.config import Config, parse

CHOICES = {"model.name": ("resnet", "dcgan", "spade"), "gen_optimizer.name": ("rmsprop",)}

RAW: dict[str, Any] = resnet3d.get_config("smoke").to_dict()
RAW["model"]["size"], RAW["data"]["resize"] = 16, 20
RAW["gen_optimizer"]["name"] = RAW["disc_optimizer"]["name"] = "rmsprop"
RAW["train"]["num_steps"], RAW["train"]["num_epochs"] = 10, 0.0

SPADES = {f"model.{name}" for name in schema._FIELDS_OF_FAMILIES["spade"]}


def changed(path: str, value: Any) -> dict[str, Any]:
    """`RAW` with one field set, "section.field" (or another one put there)."""
    raw = copy.deepcopy(RAW)
    *sections, field = path.split(".")
    place = raw
    for section in sections:
        place = place[section]
    place[field] = value
    if path in SPADES:
        raw["model"]["name"] = "spade"
    return raw


def field_paths(*kinds: type) -> list[str]:
    """All fields of a type, "section.field"."""
    paths = []
    for name, section in typing.get_type_hints(Config).items():
        if dataclasses.is_dataclass(section):
            hints = typing.get_type_hints(section)
            paths += [f"{name}.{field}" for field, kind in hints.items() if kind in kinds]
    return paths


def test_what_fits_is_parsed() -> None:
    config = parse(RAW, CHOICES)
    parsed = dataclasses.asdict(config)
    for section, fields in RAW.items():
        if section != "name":
            assert parsed[section].items() >= fields.items()
    assert parsed["name"] == RAW["name"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model.size = 32  # type: ignore[misc]


def test_whole_numbers_serve_as_fractions_and_lists_as_tuples() -> None:
    """As JSON, which checkpoints keep the config in, gives them back."""
    config = parse(changed("loss.r1_gamma", 10), CHOICES)
    assert type(config.loss.r1_gamma) is float
    assert parse(changed("model.time_stages", [0, 1]), CHOICES).model.time_stages == (0, 1)


# --- fields


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("model.sise", r"unknown field config\.model\.sise; did you mean config\.model\.size\?"),
        ("modle", r"unknown field config\.modle; did you mean config\.model\?"),
        ("train.zzz", r"unknown field config\.train\.zzz; known: seed, batch_size, .*num_samples"),
    ],
)
def test_unknown_fields_are_refused_with_a_hint(path: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse(changed(path, 1), CHOICES)


def test_missing_fields_are_named() -> None:
    raw = copy.deepcopy(RAW)
    del raw["train"]["seed"], raw["train"]["num_steps"]
    with pytest.raises(ValueError, match=r"config\.train lacks seed, num_steps; configs/common.py"):
        parse(raw, CHOICES)
    with pytest.raises(ValueError, match=r"config lacks model"):
        parse({k: v for k, v in RAW.items() if k != "model"}, CHOICES)


@pytest.mark.parametrize("value", [None, 3, "resnet", [("size", 8)]])
def test_sections_must_be_sections(value: Any) -> None:
    with pytest.raises(ValueError, match=r"config\.model \(=.*\) must be a section"):
        parse(changed("model", value), CHOICES)


@pytest.mark.parametrize("path", field_paths(int))
@pytest.mark.parametrize("value", [1.5, 8.0, True, "8", None])
def test_whole_numbers_must_be_whole_numbers(path: str, value: Any) -> None:
    """`True` and 8.0, which Python takes for 1 and 8, are slips of the pen here."""
    with pytest.raises(ValueError, match=rf"config\.{path} \(=.*\) must be of type int"):
        parse(changed(path, value), CHOICES)


@pytest.mark.parametrize("path", field_paths(float))
@pytest.mark.parametrize("value", [True, "1e-4", None])
def test_numbers_must_be_numbers(path: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"config\.{path} \(=.*\) must be of type float"):
        parse(changed(path, value), CHOICES)


@pytest.mark.parametrize("path", ["name", *field_paths(str)])
@pytest.mark.parametrize("value", [1, None, ("a",)])
def test_names_must_be_text(path: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"config\.{path} \(=.*\) must be of type str"):
        parse(changed(path, value), CHOICES)


@pytest.mark.parametrize("path", field_paths(bool))
@pytest.mark.parametrize("value", [1, "yes", None])
def test_switches_must_be_true_or_false(path: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"config\.{path} \(=.*\) must be of type bool"):
        parse(changed(path, value), CHOICES)


@pytest.mark.parametrize("value", [1, (0.5,), ("a",), (True,), None, "01"])
def test_time_stages_must_be_whole_numbers(value: Any) -> None:
    text = r"config\.model\.time_stages \(=.*\) must be a tuple of whole numbers"
    with pytest.raises(ValueError, match=text):
        parse(changed("model.time_stages", value), CHOICES)


@pytest.mark.parametrize("value", [1.0, (0, "a"), (True, 1, 0), (0, float("nan"), 1), None])
def test_labels_must_be_numbers(value: Any) -> None:
    text = r"config\.loss\.least_squares \(=.*\) must be a tuple of finite numbers"
    with pytest.raises(ValueError, match=text):
        parse(changed("loss.least_squares", value), CHOICES)


def test_labels_are_three() -> None:
    assert parse(changed("loss.least_squares", [0, 1, 1]), CHOICES).loss.least_squares == (0, 1, 1)
    with pytest.raises(ValueError, match=r"least_squares \(=\(0\.0, 1\.0\)\) must be three labels"):
        parse(changed("loss.least_squares", (0, 1)), CHOICES)


@pytest.mark.parametrize("field", ["r1_gamma", "r2_gamma", "gp_weight"])
def test_penalties_need_a_discriminator_that_judges_one_by_one(field: str) -> None:
    raw = changed("model.disc_batch_norm", True)
    raw["loss"]["r1_gamma"] = 0.0
    parse(raw, CHOICES)
    raw["loss"][field] = 1.0
    with pytest.raises(ValueError, match=rf"loss\.{field} needs .*model\.disc_batch_norm=False"):
        parse(raw, CHOICES)


def test_every_kind_of_field_is_tested_here() -> None:
    """The tests above take every field of every section."""
    sections = [s for s in typing.get_type_hints(Config).values() if dataclasses.is_dataclass(s)]
    kinds = (int, float, str, bool, tuple[int, ...], tuple[float, ...])
    num_fields = sum(len(dataclasses.fields(section)) for section in sections)
    assert len(field_paths(*kinds)) == num_fields


# --- rules

AT_LEAST_1 = [
    "model.z_dim", "model.features", "model.max_features", "data.stride", "data.num_threads",
    "data.num_scene_videos", "data.num_scene_clips", "loss.r1_every_steps", "train.batch_size",
    "train.num_disc_steps", "train.log_every_steps", "train.sample_every_steps",
    "train.save_every_steps", "train.keep_checkpoints", "train.num_samples",
    "model.base_size", "model.label_features", "model.disc_features", "model.disc_layers",
    "model.disc_scales", "model.disc_last_stride", "train.grad_accum_steps",
    "mesh.fsdp", "mesh.min_shard_size", "watch.every_steps", "watch.patience_steps",
]  # fmt: skip
AT_LEAST_0 = [
    "model.num_frames", "data.start_frames", "data.num_workers", "train.seed", "train.num_steps",
    "model.num_labels", "model.encoder_size", "model.disc_padding", "faults.max_rollbacks",
    "faults.max_skipped_records",
]  # fmt: skip
AT_LEAST_0_REAL = [
    "model.init_scale",
    "init.temporal_noise",
    "loss.r1_gamma", "loss.r2_gamma", "loss.gp_weight", "loss.weight_clip", "loss.mask_weight",
    "loss.l1_weight", "loss.vgg_weight", "loss.feature_weight", "loss.kl_weight",
    "train.num_epochs", "gen_optimizer.learning_rate", "gen_optimizer.eps",
    "disc_optimizer.learning_rate", "disc_optimizer.eps",
    "watch.max_gen_loss", "watch.min_diversity", "watch.min_motion", "watch.min_contrast",
]  # fmt: skip
SHARES = [
    "train.ema_decay", "watch.max_disc_accuracy",
    *(f"{player}_optimizer.{name}" for player in ("gen", "disc")
      for name in ("decay", "beta1", "beta2", "decay_from")),
]  # fmt: skip


def test_every_number_has_a_rule() -> None:
    """Sizes apart, which the networks and the crop restrict."""
    ruled = {*AT_LEAST_1, *AT_LEAST_0, *AT_LEAST_0_REAL, *SHARES}
    elsewhere = {"model.size", "data.resize", "data.dont_care", "model.middle_blocks"}
    elsewhere |= {"model.num_classes", "model.embed_dim", "mesh.data"}
    assert {*field_paths(int, float)} == ruled | elsewhere


@pytest.mark.parametrize(
    ("path", "value", "least"),
    [
        *((path, 0, 1) for path in AT_LEAST_1),
        *((path, -1, 0) for path in AT_LEAST_0),
        *((path, value, 0) for path in AT_LEAST_0_REAL for value in (-0.1, float("nan"))),
    ],
)
def test_numbers_below_their_least_are_refused(path: str, value: float, least: int) -> None:
    text = rf"config\.{path} \(={value}\) must be at least {least}"
    with pytest.raises(ValueError, match=text):
        parse(changed(path, value), CHOICES)


def test_data_groups_are_counted_or_left_to_the_devices() -> None:
    assert parse(changed("mesh.data", -1), CHOICES).mesh.data == -1
    for value in (0, -2):
        with pytest.raises(
            ValueError, match=rf"config\.mesh\.data \(={value}\) must be at least 1"
        ):
            parse(changed("mesh.data", value), CHOICES)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("faults.not_finite", "stop, rollback"),
        ("faults.damaged_records", "stop, skip"),
        ("faults.failed_saves", "stop, go_on"),
        ("watch.on_collapse", "warn, stop, off"),
    ],
)
def test_reactions_are_of_those_that_there_are(path: str, text: str) -> None:
    for choice in text.split(", "):
        parse(changed(path, choice), CHOICES)
    with pytest.raises(ValueError, match=rf"config\.{path} \(='ignore'\) must be one of {text}"):
        parse(changed(path, "ignore"), CHOICES)


def test_configs_from_before_these_sections_do_as_they_did() -> None:
    """Checkpoints hold their config."""
    raw = {
        name: section for name, section in RAW.items() if name not in ("mesh", "faults", "watch")
    }
    config = parse(raw, CHOICES)
    assert (config.mesh.data, config.mesh.fsdp) == (-1, 1)
    assert config.faults.not_finite == config.faults.damaged_records == "stop"


@pytest.mark.parametrize("path", SHARES)
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_shares_are_from_0_to_1(path: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"config\.{path} \(={value}\) must be from 0 to 1"):
        parse(changed(path, value), CHOICES)


@pytest.mark.parametrize("path", [*AT_LEAST_1, *AT_LEAST_0, *AT_LEAST_0_REAL, *SHARES])
def test_the_least_itself_is_allowed(path: str) -> None:
    least = 1 if path in AT_LEAST_1 else 0
    raw = changed(path, least)
    if path == "train.num_steps":
        raw["train"]["num_epochs"] = 1.0
    if path == "model.max_features":
        raw["model"]["features"] = 1
    section, field = path.split(".")
    assert getattr(getattr(parse(raw, CHOICES), section), field) == least


def test_configs_of_older_checkpoints_are_read() -> None:
    raw = changed("init.temporal_noise", 0.5)
    del raw["init"]["temporal_noise"]
    assert parse(raw, CHOICES).init.temporal_noise == 0
    for name in ("gen_dtype", "disc_dtype"):
        del raw["model"][name]
    model = parse(raw, CHOICES).model
    assert model.gen_dtype == model.disc_dtype == "float32"


@pytest.mark.parametrize("field", ["gen_dtype", "disc_dtype"])
def test_networks_compute_in_one_of_two_dtypes(field: str) -> None:
    assert parse(changed(f"model.{field}", "bfloat16"), CHOICES)
    text = rf"config\.model\.{field} \(='half'\) must be one of float32, bfloat16$"
    with pytest.raises(ValueError, match=text):
        parse(changed(f"model.{field}", "half"), CHOICES)


@pytest.mark.parametrize("value", [-1, 256])
def test_don_t_care_is_an_id(value: int) -> None:
    with pytest.raises(ValueError, match=rf"data\.dont_care \(={value}\) must be an id from 0 to"):
        parse(changed("data.dont_care", value), CHOICES)


def test_ids_are_bytes() -> None:
    assert parse(changed("model.num_labels", 255), CHOICES).model.num_labels == 255
    with pytest.raises(ValueError, match=r"num_labels \(=256\) must be at most 255: ids are bytes"):
        parse(changed("model.num_labels", 256), CHOICES)


@pytest.mark.parametrize("value", [0, 3])
def test_middle_blocks_are_one_or_two(value: int) -> None:
    with pytest.raises(ValueError, match=rf"middle_blocks \(={value}\) must be 1 or 2"):
        parse(changed("model.middle_blocks", value), CHOICES)


@pytest.mark.parametrize(("classes", "length"), [(3, 0), (0, 3), (-1, 0), (-1, 2), (2, -1)])
def test_classes_have_embeddings_and_embeddings_classes(classes: int, length: int) -> None:
    raw = changed("model.num_classes", classes)
    raw["model"]["embed_dim"] = length
    with pytest.raises(ValueError, match=r"model\.(embed_dim|num_classes) \(=.*must be"):
        parse(raw, CHOICES)
    raw["model"].update(num_classes=3, embed_dim=2)
    assert parse(raw, CHOICES).model.num_classes == 3


@pytest.mark.parametrize("path", sorted(SPADES))
def test_fields_of_other_networks_are_refused(path: str) -> None:
    field = path.split(".")[1]
    default = schema._DEFAULTS[field]
    others = {bool: True, int: 2, str: "labels", tuple: (1,)}
    value = 1 if default == 2 else others[type(default)]
    raw = changed(path, value)
    parse(raw, CHOICES)
    raw["model"]["name"] = "resnet"
    text = rf"config\.model\.{field} \(=.*\) is of the spade networks, and .* is 'resnet'"
    with pytest.raises(ValueError, match=text):
        parse(raw, CHOICES)


def test_seeds_fit_a_key() -> None:
    with pytest.raises(ValueError, match=r"config\.train\.seed \(=4294967296\) must be below 2³²"):
        parse(changed("train.seed", 1 << 32), CHOICES)


def test_the_most_channels_are_at_least_those_at_full_resolution() -> None:
    with pytest.raises(ValueError, match=r"max_features \(=15\) must be at least .*features \(=16"):
        parse(changed("model.max_features", 15), CHOICES)


@pytest.mark.parametrize("beta", ["beta1", "beta2"])
def test_adam_s_averages_must_forget(beta: str) -> None:
    with pytest.raises(ValueError, match=r"gen_optimizer\.beta1 .* and beta2 .* must be below 1"):
        parse(changed(f"gen_optimizer.{beta}", 1.0), CHOICES)


def test_frames_must_be_as_large_as_their_crop() -> None:
    with pytest.raises(ValueError, match=r"data\.resize \(=15\) must be at least .*size \(=16\)"):
        parse(changed("data.resize", 15), CHOICES)
    assert parse(changed("data.resize", 16), CHOICES).data.resize == 16


@pytest.mark.parametrize(("num_steps", "num_epochs"), [(0, 0.0), (10, 2.0)])
def test_one_length_of_training_is_given(num_steps: int, num_epochs: float) -> None:
    raw = changed("train.num_steps", num_steps)
    raw["train"]["num_epochs"] = num_epochs
    text = rf"one of config\.train\.num_steps \(={num_steps}\) and num_epochs \(={num_epochs}\)"
    with pytest.raises(ValueError, match=text):
        parse(raw, CHOICES)


def test_names_must_be_registered() -> None:
    with pytest.raises(
        ValueError, match=r"config\.model\.name \(='rsnet'\) must be one of resnet,"
    ):
        parse(changed("model.name", "rsnet"), CHOICES)
    text = r"config\.gen_optimizer\.name \(='sgd'\) must be one of rmsprop"
    with pytest.raises(ValueError, match=text):
        parse(changed("gen_optimizer.name", "sgd"), CHOICES)


def test_every_field_is_documented() -> None:
    """An attribute that its section's docstring leaves out is one that nobody can set."""
    for section in vars(schema).values():
        if dataclasses.is_dataclass(section) and isinstance(section, type):
            for field in dataclasses.fields(section):
                if section is not Config:
                    assert f"\n      {field.name}: " in (section.__doc__ or ""), field.name
