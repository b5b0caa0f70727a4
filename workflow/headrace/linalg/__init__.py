"""Blocked matrices and the solvers that run on them."""
