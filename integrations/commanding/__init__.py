"""What people in command do from the command line."""
