"""Protocols by which plans are made and evaluated."""
