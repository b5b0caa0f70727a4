"""What runs where: jobs, the pool of processes, Dask's workers, and who works here."""
