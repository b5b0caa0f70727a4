"""Zarr stores: the only room that opens, chunks, writes and checks Zarr, and the small files of arrays beside it."""
