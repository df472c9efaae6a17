"""How the parts of a cluster grow: permits, environments, routers, dispatchers."""
