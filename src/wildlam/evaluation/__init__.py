"""Evaluations: each a function from (model, data) to a small result."""
