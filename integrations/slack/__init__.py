"""Slack: cards that ask, buttons that answer. Transport, identity, rendering, interactions."""
