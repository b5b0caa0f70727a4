"""From a store to batches, ahead of time."""
