"""Procedural nature clips with exact ADE20K label maps: the data set that needs no download."""

from vidgan_jax.data.scenes.layout import SCENE_KINDS, SCENE_LABELS, STATIC_LABELS
from vidgan_jax.data.scenes.render import MIN_SIZE, SceneClip, render_clip

__all__ = ["MIN_SIZE", "SCENE_KINDS", "SCENE_LABELS", "STATIC_LABELS", "SceneClip", "render_clip"]
