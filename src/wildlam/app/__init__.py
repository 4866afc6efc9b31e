"""The playground, a local web page: drive, transfer, plan, map, search, and watch runs. See ``wildlam app``."""
