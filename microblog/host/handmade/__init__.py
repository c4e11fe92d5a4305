"""A deployment by hand of the Flask Mega-Tutorial: recognised, left alone, and what is in it taken over."""
