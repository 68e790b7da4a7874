"""The command `gates policy`, and the files that policies are read from."""
