"""Latent arithmetic: `(3,8,12) - (5,6,9) + (0,7,2)`, latents by number, lists for their means.

The grammar is all there is; spaces are free:

    expression = [sign] term {sign term}
    term       = number | "(" number {"," number} ")"
    sign       = "+" | "-"
"""

import dataclasses
import re
from fractions import Fraction
from typing import NoReturn

import jax
import jax.numpy as jnp

MAX_NUMBER = 99_999
_TOKEN = re.compile(r"[0-9]+|\S")


@dataclasses.dataclass(frozen=True)
class Term:
    """One latent, or the mean of several, with its sign.

    Attributes:
      sign: 1 or -1.
      numbers: of the latents, at least one.
    """

    sign: int
    numbers: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Expression:
    """What `parse` has read.

    Attributes:
      text: as written.
      terms: in their order, at least one.
    """

    text: str
    terms: tuple[Term, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Every latent that is named, once, in ascending order."""
        return tuple(sorted({number for term in self.terms for number in term.numbers}))


def parse(text: str) -> Expression:
    """Reads an expression.

    Args:
      text: of the grammar above; numbers from 0 to `MAX_NUMBER`.

    Raises:
      ValueError: it is not of the grammar; the message gives the expression, the place (characters
        are counted from 1) and what must stand there.
    """
    return Expression(text, _Parser(text).expression())


class _Parser:
    """Recursive descent over one expression's tokens, the end being an empty one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(text)]
        self._tokens.append(("", len(text)))
        self._next = 0

    @property
    def _token(self) -> str:
        return self._tokens[self._next][0]

    def expression(self) -> tuple[Term, ...]:
        first = self._sign() if self._token in ("+", "-") else 1
        terms = [Term(first, self._term())]
        while self._token:
            if self._token not in ("+", "-"):
                self._fail("terms are joined by + or -")
            terms.append(Term(self._sign(), self._term()))
        return tuple(terms)

    def _sign(self) -> int:
        return -1 if self._take() == "-" else 1

    def _term(self) -> tuple[int, ...]:
        if self._token != "(":
            return (self._number("a latent's number, or a list such as (3,8,12), must stand here"),)
        self._take()
        numbers = [self._number("a list is of at least one latent's number")]
        while self._token == ",":
            self._take()
            numbers.append(self._number("a number must follow a comma"))
        if self._token != ")":
            self._fail("commas separate the numbers of a list, and a ) closes it")
        self._take()
        return tuple(numbers)

    def _number(self, rule: str) -> int:
        digits = self._token
        if not (digits.isascii() and digits.isdecimal()):
            self._fail(rule)
        # By their count first: `int` takes no more than a few thousand digits.
        if len(digits.lstrip("0")) > len(str(MAX_NUMBER)) or int(digits) > MAX_NUMBER:
            self._fail(f"latents are numbered from 0 to {MAX_NUMBER}")
        return int(self._take())

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1][0]

    def _fail(self, rule: str) -> NoReturn:
        token, start = self._tokens[self._next]
        shown = token if len(token) <= 12 else f"{token[:12]}…"
        place = f"character {start + 1} ({shown!r})" if token else "the end"
        raise ValueError(f"arithmetic {self._text!r}: at {place}: {rule}")


def evaluate(expression: Expression, latents: jax.Array, *, rescale: bool = True) -> jax.Array:
    """The latents of an expression's terms and of its result.

    The sum of three independent normal latents is √3 longer than one and the mean of three √3
    shorter: lengths that the generator has hardly seen. Rescaling gives each its latents' mean
    length. It comes last: the result is the sum of the means as they are, and its direction is the
    same without.

    Args:
      expression: what to compute.
      latents: float `[m, z]`, those of the m `expression.numbers`, in that order.
      rescale: whether a term gets the mean length of the latents in its list, and the result the
        mean length of all that are named (as often as they are).

    Returns:
      float `[len(terms) + 1, z]`: the terms in their order, without their signs, then the result.

    Raises:
      ValueError: there are not m latents, or something to be rescaled is 0, such as the result of
        `3 - 3`.

    Source: Radford et al. 2015, arXiv:1511.06434, section 6.3.2 and figure 7, where each term is
    the mean of three latents; there is no rescaling there.
    """
    if len(latents) != len(expression.numbers):
        raise ValueError(
            f"{len(latents)} latents given; arithmetic {expression.text!r} names "
            f"{len(expression.numbers)} different ones"
        )
    shares = [_shares(expression, (Term(1, term.numbers),)) for term in expression.terms]
    values = _weighted([*shares, _shares(expression, expression.terms)], latents)
    if not rescale:
        return values
    found = jnp.linalg.norm(values, axis=-1, keepdims=True)
    if not jnp.all(found > 0):
        raise ValueError(
            f"arithmetic {expression.text!r} gives a latent of length 0, which can't be rescaled; "
            "name other latents, or use --no-rescale"
        )
    all_named = Term(1, tuple(n for term in expression.terms for n in term.numbers))
    lengths = jnp.linalg.norm(latents, axis=-1, keepdims=True)
    wanted = _weighted([*shares, _shares(expression, (all_named,))], lengths)
    return values * (wanted / found)


def _shares(expression: Expression, terms: tuple[Term, ...]) -> list[Fraction]:
    """What `terms` take of each of `expression.numbers`.

    Exactly, so that they cancel: `(1,2,3) - (3,2,1)` is 0, and not what rounding left of it.
    """
    shares = dict.fromkeys(expression.numbers, Fraction(0))
    for term in terms:
        for number in term.numbers:
            shares[number] += Fraction(term.sign, len(term.numbers))
    return list(shares.values())


def _weighted(rows: list[list[Fraction]], values: jax.Array) -> jax.Array:
    """Sums of `values` `[m, k]` by weights `[n][m]`: `[n, k]`, in full float32 on any device."""
    weights = jnp.asarray([[float(share) for share in row] for row in rows], jnp.float32)
    return jnp.matmul(weights, values, precision=jax.lax.Precision.HIGHEST)
