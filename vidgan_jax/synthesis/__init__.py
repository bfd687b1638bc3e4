"""From latents to frames: draws, paths and sums of latents, and the generator run over them."""
