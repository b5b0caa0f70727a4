"""One file for every stage of the workflow: read, call, write."""
