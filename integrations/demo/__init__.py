"""`make demo`: the whole house on this machine, and invoices that run through it.

Like wiring and the command line this knows everybody; nobody imports it but they.
"""
