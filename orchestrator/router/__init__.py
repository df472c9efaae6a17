"""Router: the ASGI front door, from a caller's connection to a replica's and back."""
