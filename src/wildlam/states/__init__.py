"""Frames to states: the feature store, encoding, and the clips of a run."""
