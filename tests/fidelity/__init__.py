"""How well a simulation tells what a cluster does (`make fidelity`)."""
