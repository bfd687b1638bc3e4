"""Latent arithmetic: what the grammar takes and refuses, and the sums."""

import re
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidgan_jax.synthesis.arithmetic import MAX_NUMBER, Term, evaluate, parse
from vidgan_jax.synthesis.latents import pick_latents

A, B, C = [3.0, 4.0], [0.0, 2.0], [1.0, 0.0]  # of lengths 5, 2, 1


def value(text: str, *latents: list[float], rescale: bool = True) -> np.ndarray:
    return np.asarray(evaluate(parse(text), jnp.asarray(latents), rescale=rescale))


def drawn(text: str, *, rescale: bool, z_dim: int = 64) -> np.ndarray:
    expression = parse(text)
    latents = pick_latents(0, expression.numbers, z_dim, None)
    return np.asarray(evaluate(expression, latents, rescale=rescale))


# Reading.


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("3", [(1, 3)]),
        ("3 - 5 + 0", [(1, 3), (-1, 5), (1, 0)]),
        ("3-5+0", [(1, 3), (-1, 5), (1, 0)]),
        ("-3 + 5", [(-1, 3), (1, 5)]),
        ("+3", [(1, 3)]),
        (" \t-  3\n- 5 ", [(-1, 3), (-1, 5)]),
        ("(3)", [(1, 3)]),
        ("(3,8,12) - (5,6,9) + (0,7,2)", [(1, 3, 8, 12), (-1, 5, 6, 9), (1, 0, 7, 2)]),
        ("-( 3 ,8,\n12)+4", [(-1, 3, 8, 12), (1, 4)]),
        ("(2, 2, 1)", [(1, 2, 2, 1)]),
        ("3 - 3", [(1, 3), (-1, 3)]),
        ("007", [(1, 7)]),
        (str(MAX_NUMBER), [(1, MAX_NUMBER)]),
    ],
)
def test_an_expression_is_read(text: str, terms: list[tuple[int, ...]]) -> None:
    expression = parse(text)
    assert expression.text == text
    assert expression.terms == tuple(Term(sign, tuple(numbers)) for sign, *numbers in terms)


def test_the_latents_named_are_known_once_and_in_order() -> None:
    assert parse("(9,3) - 4 + (3,9,0)").numbers == (0, 3, 4, 9)


numbers = st.lists(st.integers(0, MAX_NUMBER), min_size=1, max_size=4)
spaces = st.text(" \t\n", max_size=2)


@given(st.lists(st.tuples(st.sampled_from([1, -1]), numbers), min_size=1, max_size=5), st.data())
def test_what_is_written_is_what_is_read(
    terms: list[tuple[int, list[int]]], data: st.DataObject
) -> None:
    """Any terms, with any spaces between any two symbols."""
    symbols: list[str] = []
    for sign, listed in terms:
        symbols += ["-" if sign < 0 else "+", "(", ",".join(map(str, listed)), ")"]
    text = "".join(data.draw(spaces) + symbol for symbol in symbols)
    assert parse(text).terms == tuple(Term(sign, tuple(listed)) for sign, listed in terms)


@given(st.text("0123 +-(),٣x", max_size=10))
def test_any_text_is_read_or_refused_in_one_way(text: str) -> None:
    said = ""
    try:
        terms = parse(text).terms
    except ValueError as error:
        said = str(error)
    if said:
        assert said.startswith(f"arithmetic {text!r}: at ")
    else:
        assert sum(len(term.numbers) for term in terms) == len(re.findall("[0-9]+", text))


MUST_STAND = "a latent's number, or a list such as (3,8,12), must stand here"
JOINED = "terms are joined by + or -"
SEPARATED = "commas separate the numbers of a list, and a ) closes it"
AT_LEAST_ONE = "a list is of at least one latent's number"


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("", "the end", MUST_STAND),
        ("  ", "the end", MUST_STAND),
        ("-", "the end", MUST_STAND),
        ("3 -", "the end", MUST_STAND),
        ("3 + ", "the end", MUST_STAND),
        ("3 - -5", "character 5 ('-')", MUST_STAND),
        ("--3", "character 2 ('-')", MUST_STAND),
        ("* 3", "character 1 ('*')", MUST_STAND),
        ("3 + x", "character 5 ('x')", MUST_STAND),
        ("٣", "character 1 ('٣')", MUST_STAND),  # a digit elsewhere, and to `int`
        ("3 5", "character 3 ('5')", JOINED),
        ("3 * 5", "character 3 ('*')", JOINED),
        ("3 \N{MINUS SIGN} 5", "character 3 ('\N{MINUS SIGN}')", JOINED),
        ("3.5", "character 2 ('.')", JOINED),
        ("1_000", "character 2 ('_')", JOINED),
        ("1e3", "character 2 ('e')", JOINED),
        ("2(3,4)", "character 2 ('(')", JOINED),
        ("(3,4)(5,6)", "character 6 ('(')", JOINED),
        ("3)", "character 2 (')')", JOINED),
        ("()", "character 2 (')')", AT_LEAST_ONE),
        ("( )", "character 3 (')')", AT_LEAST_ONE),
        ("(,3)", "character 2 (',')", AT_LEAST_ONE),
        ("(-3)", "character 2 ('-')", AT_LEAST_ONE),
        ("((3))", "character 2 ('(')", AT_LEAST_ONE),
        ("(3,)", "character 4 (')')", "a number must follow a comma"),
        ("(3,,4)", "character 4 (',')", "a number must follow a comma"),
        ("(3,", "the end", "a number must follow a comma"),
        ("(3", "the end", SEPARATED),
        ("(3 4)", "character 4 ('4')", SEPARATED),
        ("(3 - 4)", "character 4 ('-')", SEPARATED),
        ("1 + 100000", "character 5 ('100000')", "latents are numbered from 0 to 99999"),
        ("(1,1234567890123)", "character 4 ('123456789012…')", "numbered from 0 to 99999"),
        ("9" * 5000, "character 1 ('999999999999…')", "numbered from 0 to 99999"),
    ],
)
def test_what_is_not_of_the_grammar_is_refused(text: str, place: str, rule: str) -> None:
    with pytest.raises(ValueError, match="arithmetic") as refused:
        parse(text)
    assert str(refused.value).startswith(f"arithmetic {text!r}: at {place}: ")
    assert str(refused.value).endswith(rule)


# Sums.


def test_sums_and_means_at_hand_picked_latents() -> None:
    """Named by their ascending numbers: 0 is A, 1 is B, 2 is C."""
    found = value("(0,1) - 2 + 1", A, B, C, rescale=False)
    np.testing.assert_allclose(found, [[1.5, 3.0], C, B, [0.5, 5.0]], rtol=1e-6)


def test_rescaling_gives_the_mean_length_of_the_latents_named() -> None:
    found = value("(0,1) - 2 + 1", A, B, C)
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths, [3.5, 1, 2, (5 + 2 + 1 + 2) / 4], rtol=1e-6)
    plain = value("(0,1) - 2 + 1", A, B, C, rescale=False)
    directions = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(found / lengths[:, None], directions, rtol=1e-6)


def test_a_minus_turns_the_result_and_not_the_term() -> None:
    np.testing.assert_allclose(value("-0", A), [A, [-3.0, -4.0]], rtol=1e-6)


@pytest.mark.parametrize("rescale", [True, False])
def test_one_latent_is_itself(rescale: bool) -> None:
    latent = np.asarray(pick_latents(0, [7], 64, None))
    np.testing.assert_allclose(drawn("7", rescale=rescale), np.repeat(latent, 2, 0), rtol=1e-6)
    # The order in which latents are named, and how often, is all the same to a mean.
    np.testing.assert_allclose(
        drawn("(7,3)", rescale=rescale), drawn("(3,7,3,7)", rescale=rescale), rtol=1e-5
    )


def test_three_normal_latents_are_too_long_together_and_too_short_on_average() -> None:
    """By √3 each way; that is what rescaling is for."""
    lengths = np.linalg.norm(drawn("0 - 1 + 2", rescale=False, z_dim=4096), axis=1)
    np.testing.assert_allclose(lengths / 64, [1, 1, 1, np.sqrt(3)], rtol=0.05)
    lengths = np.linalg.norm(drawn("(0,1,2)", rescale=False, z_dim=4096), axis=1)
    np.testing.assert_allclose(lengths / 64, 1 / np.sqrt(3), rtol=0.05)
    for text in ("0 - 1 + 2", "(0,1,2)"):
        lengths = np.linalg.norm(drawn(text, rescale=True, z_dim=4096), axis=1)
        np.testing.assert_allclose(lengths / 64, 1, rtol=0.05)


@pytest.mark.parametrize(
    "text", ["3 - 3", "-3 + 3", "(1,2,3) - (3,2,1)", "(1,1,2) - (1,2,1)", "(1,2) - (1,2,1,2)"]
)
def test_what_cancels_is_exactly_0_and_not_rescaled(text: str) -> None:
    assert not drawn(text, rescale=False)[-1].any()
    with pytest.raises(ValueError, match="gives a latent of length 0") as refused:
        drawn(text, rescale=True)
    assert str(refused.value).startswith(f"arithmetic {text!r} gives")
    assert str(refused.value).endswith("name other latents, or use --no-rescale")


def test_what_does_not_cancel_is_kept() -> None:
    found = drawn("(1,2,3) - (1,2)", rescale=False)
    latents = np.asarray(pick_latents(0, [1, 2, 3], 64, None), np.float64)
    weights = np.array([float(Fraction(1, 3) - Fraction(1, 2))] * 2 + [1 / 3])
    np.testing.assert_allclose(found[-1], weights @ latents, atol=1e-6)


def test_latents_must_be_as_many_as_are_named() -> None:
    with pytest.raises(ValueError, match=r"2 latents given; arithmetic '0 - 0' names 1 different"):
        value("0 - 0", A, B)
