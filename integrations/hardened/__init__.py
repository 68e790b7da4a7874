"""The house with a user for each process, so that a flow cannot reach what it may not touch.

Like the demo this knows everybody; nobody imports it but the command line.
"""
