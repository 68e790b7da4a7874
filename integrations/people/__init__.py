"""What admins do for people at the command line."""
