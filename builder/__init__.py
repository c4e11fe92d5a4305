"""What build.py's verbs do, a module each."""
