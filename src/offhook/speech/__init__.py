"""Speech: what is said, and what was said. Voices and recognisers that work offline, and the process they run in."""
