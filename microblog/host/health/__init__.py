"""Whether all is well, for people and for monitors. Reaches updates and what is below."""
