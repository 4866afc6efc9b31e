"""Recordings with real actions: their formats, poses, pairing and clips."""
