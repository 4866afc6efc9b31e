"""Planning: search for the actions that lead a world model from a state to a goal."""
