"""What the Snakefile calls: the plan, the jobs' needs, how often SLURM is asked."""
