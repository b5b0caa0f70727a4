"""Dask workers that a batch scheduler starts: certificates, network, jobs, steps, and a watch over all of them."""
