"""What an administrator may ask for besides, each with a way back. Reaches updates and what is below."""
