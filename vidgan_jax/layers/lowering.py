"""One convolution, computed in the way that suits the platform it runs on.

A convolution, its gradient with respect to the data and the one with respect to the kernel are each
linear in two things, and the derivatives of each are the other two. Here the three name one another
as derivatives, so that every order of differentiation (R1 is the second) runs through forms that
were chosen, none through what comes out when XLA turns those around. The same goes for transposed
convolutions. Forward mode is not defined.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from vidgan_jax.layers import cpu_conv, native_conv
from vidgan_jax.layers.geometry import Form, Geometry

_Pair = tuple[jax.Array, jax.Array]


class Forms(NamedTuple):
    """Three functions of a geometry and two arrays.

    Attributes:
      forward: of data and kernel, the result.
      data_gradient: of the result's gradient and the kernel, the data's.
      kernel_gradient: of data and the result's gradient, the kernel's.
    """

    forward: Form
    data_gradient: Form
    kernel_gradient: Form


Sizes = Callable[[Geometry], tuple[int, ...]]


def turned_around(forward: Form, data_size: Sizes, widths: Sizes = lambda g: g.widths) -> Forms:
    """A form with the gradients that XLA makes of it.

    Args:
      forward: of data `[b, *size, c_in]` and a kernel `[*widths, c_in, c_out]`.
      data_size: tells `size`.
      widths: tells the kernel's.
    """

    def data_gradient(geometry: Geometry, dy: jax.Array, kernel: jax.Array) -> jax.Array:
        x = jax.ShapeDtypeStruct(
            (dy.shape[0], *data_size(geometry), kernel.shape[-2]), jnp.result_type(dy, kernel)
        )
        return jax.linear_transpose(lambda x: forward(geometry, x, kernel), x)(dy)[0]

    def kernel_gradient(geometry: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
        shape = (*widths(geometry), x.shape[-1], dy.shape[-1])
        kernel = jax.ShapeDtypeStruct(shape, jnp.result_type(x, dy))
        return jax.linear_transpose(lambda kernel: forward(geometry, x, kernel), kernel)(dy)[0]

    return Forms(forward, data_gradient, kernel_gradient)


def _by_platform(cpu: Form, elsewhere: Form) -> Form:
    def chosen(geometry: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
        forms = {"cpu": cpu, "default": elsewhere}
        bound = {name: functools.partial(form, geometry) for name, form in forms.items()}
        return lax.platform_dependent(a, b, **bound)

    return chosen


def _closed(cpu: Forms, elsewhere: Forms) -> Form:
    """The forward form for each platform; the three have one another as derivatives."""
    forward, data_gradient, kernel_gradient = (
        jax.custom_vjp(_by_platform(*pair), nondiff_argnums=(0,))
        for pair in zip(cpu, elsewhere, strict=True)
    )

    def of_forward(geometry: Geometry, inputs: _Pair, dy: jax.Array) -> _Pair:
        x, kernel = inputs
        return data_gradient(geometry, dy, kernel), kernel_gradient(geometry, x, dy)

    def of_data_gradient(geometry: Geometry, inputs: _Pair, dx: jax.Array) -> _Pair:
        dy, kernel = inputs
        return forward(geometry, dx, kernel), kernel_gradient(geometry, dx, dy)

    def of_kernel_gradient(geometry: Geometry, inputs: _Pair, dkernel: jax.Array) -> _Pair:
        x, dy = inputs
        return data_gradient(geometry, dy, dkernel), forward(geometry, x, dkernel)

    for form, derivatives in (
        (forward, of_forward),
        (data_gradient, of_data_gradient),
        (kernel_gradient, of_kernel_gradient),
    ):
        form.defvjp(lambda g, a, b, form=form: (form(g, a, b), (a, b)), derivatives)
    return forward


CPU_CONV = Forms(cpu_conv.forward, cpu_conv.data_gradient, cpu_conv.kernel_gradient)
NATIVE_CONV = turned_around(native_conv.forward, lambda geometry: geometry.size)
CPU_TRANSPOSED = Forms(
    cpu_conv.transposed, cpu_conv.transposed_data_gradient, cpu_conv.transposed_kernel_gradient
)
NATIVE_TRANSPOSED = turned_around(native_conv.transposed, lambda geometry: geometry.out)
CPU_UPSAMPLED = Forms(
    cpu_conv.upsampled, cpu_conv.upsampled_data_gradient, cpu_conv.upsampled_kernel_gradient
)
NATIVE_UPSAMPLED = turned_around(
    native_conv.upsampled, lambda geometry: geometry.out, lambda geometry: geometry.widths_upsampled
)

conv = _closed(CPU_CONV, NATIVE_CONV)
"""Convolves data `[b, *size, c_in]` by a kernel `[*widths, c_in, c_out]`: `[b, *out, c_out]`."""

conv_transpose = _closed(CPU_TRANSPOSED, NATIVE_TRANSPOSED)
"""Spreads data `[b, *out, c_in]` by a kernel `[*widths, c_in, c_out]`: `[b, *size, c_out]`.

Along every axis, `y[s·i + j - p] += x[i] · kernel[j]`, p being the geometry's padding in front. So
in space it is the gradient of `conv`; in time the data go on beyond their ends with their first and
last frame.
"""

conv_upsampled = _closed(CPU_UPSAMPLED, NATIVE_UPSAMPLED)
"""Convolves data `[b, *out, c_in]` after repeating each position `strides` times: `[b, *size, c]`.

The kernel is `[*widths_upsampled, c_in, c]`; geometry is that of the transposed convolution which
does the same to the data as they are, with the kernel's entries added up that see one position.
"""
