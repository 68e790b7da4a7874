"""An agent that wants money moved, with everything that a flow process has and nothing more.

A program of its own: it runs as the flow's user, in the worker's environment, and tries what it
can think of. It writes down each try, what came of it, and what the server answered; whether any
harm was done is for others to find out, in the books and in the log.
"""
