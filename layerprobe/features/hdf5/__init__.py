"""The feature file and the Gram file: the only place with h5py."""
