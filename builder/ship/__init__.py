"""The way to the user: cards, clouds, boxes. Reaches all that makes no image."""
