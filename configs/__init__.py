"""Compositions of sections, one file for each model; `get_config(variant)` gives a ConfigDict."""
