"""Reports on many runs: which is better, by how much and how surely; tables, figures, prose."""
