"""Terms and objectives: weights, laziness, names."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidgan_jax.losses.objective import Objective, Pass, Term, per_example, weighted_sum

OUTPUTS = Pass(
    real=jnp.zeros((4, 2, 2, 3)),
    fake=jnp.ones((4, 2, 2, 3)),
    fake_logits=jnp.array([1.0, 2.0, 3.0, 6.0]),
    real_logits=jnp.array([4.0, 4.0, 0.0, 0.0]),
)


def real(outputs: Pass) -> jax.Array:
    assert outputs.real_logits is not None
    return outputs.real_logits


def fake(outputs: Pass) -> jax.Array:
    return outputs.fake_logits


def test_weighted_sum_by_hand() -> None:
    """Means are 3 and 2: 3 + 10 · 2."""
    total, shares = weighted_sum((Term("a", fake), Term("b", real, weight=10.0)), OUTPUTS)
    assert {name: float(share) for name, share in shares.items()} == {"a": 3.0, "b": 20.0}
    assert float(total) == 23.0
    chex.assert_type([total, *shares.values()], jnp.float32)
    chex.assert_shape([total, *shares.values()], ())


def test_lazy_terms_enter_multiplied_and_are_logged_as_weighted() -> None:
    """A term of every 4th step has 4 times the weight, so that its mean over steps is the same."""
    terms = (Term("a", fake), Term("lazy", real, weight=0.5, every_steps=4))
    total, shares = weighted_sum(terms, OUTPUTS)
    assert float(shares["lazy"]) == 1.0
    assert float(total) == 3.0 + 4 * 1.0


def test_the_sum_over_steps_does_not_depend_on_laziness() -> None:
    sums = []
    for every_steps in (1, 2, 4):
        objective = Objective(gen=(), disc=(Term("r", real, 0.5, every_steps),))
        due = [objective.due(step).disc for step in range(8)]
        sums.append(sum(float(weighted_sum(terms, OUTPUTS)[0]) for terms in due))
    np.testing.assert_allclose(sums, 8 * 0.5 * 2.0)


def test_gradients_follow_weights() -> None:
    def loss(logits: jax.Array) -> jax.Array:
        outputs = Pass(OUTPUTS.real, OUTPUTS.fake, logits)
        return weighted_sum((Term("a", fake, weight=3.0, every_steps=2),), outputs)[0]

    np.testing.assert_allclose(jax.grad(loss)(OUTPUTS.fake_logits), [3 * 2 / 4] * 4)


def test_no_terms_cost_nothing() -> None:
    total, shares = weighted_sum((), OUTPUTS)
    assert float(total) == 0
    assert shares == {}
    chex.assert_type(total, jnp.float32)


def test_low_precision_terms_are_averaged_in_float32() -> None:
    """257 does not exist in bfloat16: a mean there would be off."""
    term = Term("a", lambda outputs: jnp.array([256.0, 258.0], jnp.bfloat16))
    total, _ = weighted_sum((term,), OUTPUTS)
    assert float(total) == 257.0


def test_due() -> None:
    """Step 0 has all terms; order is kept; both players are sieved."""
    objective = Objective(
        gen=(Term("g", fake), Term("g3", fake, every_steps=3)),
        disc=(Term("d2", real, every_steps=2), Term("d", real)),
    )
    names = [
        tuple(term.name for term in (*due.gen, *due.disc)) for due in map(objective.due, range(4))
    ]
    assert names == [("g", "g3", "d2", "d"), ("g", "d"), ("g", "d2", "d"), ("g", "g3", "d")]


@pytest.mark.parametrize("every_steps", [0, -1])
def test_terms_refuse_to_be_never_due(every_steps: int) -> None:
    with pytest.raises(ValueError, match=rf"every_steps \(={every_steps}\) of 'reg' must be at"):
        Term("reg", fake, every_steps=every_steps)


def test_patches_are_averaged_within_a_scale_and_scales_count_the_same() -> None:
    """Means of squares: (1 + 9) / 2 = 5 and 4 of the first example, 0 and 36 of the second."""
    scales = (jnp.array([[[1.0, 3.0]], [[0.0, 0.0]]]), jnp.array([[[2.0]], [[6.0]]]))
    got = per_example(jnp.square, scales)
    np.testing.assert_allclose(got, [4.5, 18.0])
    np.testing.assert_allclose(per_example(jnp.square, jnp.array([1.0, 3.0])), [1.0, 9.0])
