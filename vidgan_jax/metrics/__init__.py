"""Measures of what a generator makes: Fréchet distances of fixed features, and motion."""
