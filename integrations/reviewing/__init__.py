"""Looking at a sample of what ran by itself."""
