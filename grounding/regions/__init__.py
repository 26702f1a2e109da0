"""Maps to ranked boxes."""
