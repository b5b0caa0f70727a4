"""Headrace: one YAML file in, one report out, for reproducible HPC experiments."""
