"""From an experiment to artifacts, jobs and ids: what is made from what, by which job, under which name."""
