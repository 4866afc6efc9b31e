"""What each command does: a configuration in, results out. Nothing here parses arguments."""
