"""How many replicas an environment should have: policies, their composition, and the pace."""
