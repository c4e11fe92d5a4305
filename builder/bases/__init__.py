"""Having a base at hand: composed here, or downloaded and checked. Reaches core, defs, deb, disk."""
