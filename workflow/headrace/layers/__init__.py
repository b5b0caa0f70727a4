"""Parts of networks that several model families are made of. Torch is imported here: families do so when they build."""
