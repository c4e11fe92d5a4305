"""What an administrator may ask for besides, each with a way back. Reaches backups and what is below."""
