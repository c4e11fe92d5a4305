"""Its backups, the way back from one, and upgrades. Reaches database and what is below."""
