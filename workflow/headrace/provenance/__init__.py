"""What proves a result: manifests, digests, fingerprints of code, the crate."""
