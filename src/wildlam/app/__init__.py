"""The playground, a local web page: drive, transfer, plan, map, search, and watch runs. See ``wildlam app``."""

from wildlam.app.server import AppConfig, serve

__all__ = ["AppConfig", "serve"]
