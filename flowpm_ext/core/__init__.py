"""What every layer stands on: types, checks at the public door, seeds, units."""
