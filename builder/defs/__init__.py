"""The definitions of images and bases, and what they have to do with each other. Reaches core."""
