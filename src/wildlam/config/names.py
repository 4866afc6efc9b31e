"""Names of keys that parsers treat in a way of their own."""

CHOSEN = frozenset({"encoder", "model.idm", "model.bottleneck", "model.consistency", "prior"})
"""Those whose value is one of a class's subclasses, if it is a class; ``CHOSEN_BY_NAME`` has the classes."""

RENAMED = {"baseline": "action_free"}
"""Old names of keys, which still work, and their new names."""
