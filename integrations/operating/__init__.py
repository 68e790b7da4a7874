"""For whoever runs the house: backup, restore, a doctor."""
