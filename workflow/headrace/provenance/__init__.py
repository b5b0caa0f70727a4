"""What proves a result: manifests, digests, fingerprints of code, checkpoints, the commit."""
