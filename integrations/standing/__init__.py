"""`gates standing`."""
