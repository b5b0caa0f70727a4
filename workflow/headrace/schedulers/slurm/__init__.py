"""SLURM, asked through its clients."""
