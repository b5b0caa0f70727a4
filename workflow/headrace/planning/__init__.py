"""From an experiment to artifacts, jobs and ids; what the Snakefile asks for."""
