"""One training run: the model and its optimizer, the loop over epochs, and all that a checkpoint needs."""
