"""How good a model is, how sure that is, and whether two differ: arrays in, numbers out."""
