"""The commands ``roma-train``, ``roma-eval``, ``roma-data`` and ``roma-doctor``."""
