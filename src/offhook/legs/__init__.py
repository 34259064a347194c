"""How a person is reached: the leg contract and its kinds."""
