"""Losses: pure functions of logits and frames, one value for each example."""
