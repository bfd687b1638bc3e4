"""Scores of checkpoints: streams of examples, measures over them, and what is told of both."""
