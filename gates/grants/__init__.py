"""Signed grants: the token, the keys that sign and verify it, its making and its using up."""
