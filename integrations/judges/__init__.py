"""Judges beside the policy that ask another service."""
