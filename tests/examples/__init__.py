"""Each example in examples/ as a process of its own, spoken to by a real client."""
