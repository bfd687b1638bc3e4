"""The report's words: they say what the numbers say, no more."""

import math

import pytest

from tests.reports.points import POINTS, make_points
from vidgan_jax.reports import text
from vidgan_jax.reports.comparison import Scores


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.12345, "0.123"),
        (12.34, "12.3"),
        (1234.5, "1234"),
        (0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_numbers_have_three_digits(value: float | None, said: str) -> None:
    assert text.number(value) == said


def test_tables_are_markdown() -> None:
    assert text.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_a_score_table_has_every_step_and_what_real_examples_have() -> None:
    lines = text.score_table(POINTS, "frames", 0.5).splitlines()
    assert lines[0] == "| start | step 0 | step 10 | step 20 |"
    assert lines[2] == "| scratch | – | 7 ± 1 (6–8) | 4.5 ± 0.707 (4–5) |"
    assert lines[3] == "| average | 2 ± 0 (2–2) | 3 ± 1 (2–4) | 3 ± 2.65 (1–6) |"
    assert lines[-1] == "| real against real | 0.5 | 0.5 | 0.5 |"


def test_a_winner_that_all_seeds_agree_on() -> None:
    values = {"scratch": {0: 4.0, 1: 5.0, 2: 6.0}, "central": {0: 1.0, 1: 2.0, 2: 3.0}}
    said = text.verdict(values, "At the end")
    assert said.startswith("- At the end: **central** has the smallest mean, 2 ± 1 (1–3)")
    assert "scratch − central, seed by seed, is +3, +3, +3: all 3 seeds agree" in said
    assert "by chance one time in 4" in said


def test_a_winner_that_seeds_disagree_on() -> None:
    values = {"average": {0: 1.0, 1: 2.0, 2: 3.0}, "central": {0: 2.0, 1: 1.0, 2: 5.0}}
    said = text.verdict(values, "At the end")
    assert (
        "the seeds disagree (2 of 3 in favour), so this study **does not separate** the two" in said
    )


def test_winners_of_which_nothing_follows() -> None:
    assert "of a single seed nothing follows" in text.verdict({"a": {0: 1.0}, "b": {0: 2.0}}, "It")
    assert "no seed in common" in text.verdict({"a": {0: 1.0}, "b": {1: 2.0}}, "It")
    assert "nothing to compare it with" in text.verdict({"a": {0: 1.0}}, "It")
    assert text.verdict({}, "It") == "- It: nothing to compare yet."


def test_every_start_is_compared_with_scratch() -> None:
    said = text.against_scratch(text.last_values(POINTS, "frames", 20))
    assert "average is better for 2 of 2 seeds" in said
    assert "central is better for 2 of 2 seeds" in said
    worse = make_points({"scratch": {1: [1, 1]}, "average": {1: [2, 0.5]}})
    said = text.against_scratch(text.last_values(worse, "frames", 1))
    assert "average is better for 1 of 2 seeds" in said
    alone = {"average": {0: 1.0}}
    assert text.against_scratch(alone) == "- Inflated against scratch: not run."


def test_a_section_shows_all_there_is() -> None:
    said = text.family_section("resnet", POINTS, Scores(0.1, 0.2, 4.5), {"real": "sheet_real"})
    for expected in (
        "## resnet",
        "At the last step (20): **average**",
        "Mean height of the curve, steps 10 to 20: ",
        "![losses](losses_resnet.png)",
        "![distances](scores_resnet.png)",
        "| real against real | 0.2 | 0.2 | 0.2 |",
        "| real | 4.5 | 4.5 | 4.5 |",
        "| average before scratch | 3 | +3, +3 | 2 of 2 |",
        "real ([video](sheet_real.mp4))",
    ):
        assert expected in said, expected
    assert "nan" not in said
    assert "None" not in said


def test_starts_that_share_no_step_are_not_compared() -> None:
    points = make_points({"scratch": {5: [1]}, "average": {7: [1]}})
    assert "nothing can be compared yet" in "\n".join(text.verdicts(points))
    assert text.family_section("x", points, Scores(0, 0, 0), {})
    assert "- x" not in text.summary({"x": points})


def test_the_summary_ranks_starts() -> None:
    said = text.summary({"resnet": POINTS})
    expected = (
        "- resnet, clips, step 20: average 30, central 30, scratch 45 (first and second: 2 of 3"
    )
    assert expected in said
