"""Models to run: a plain echo, a simulated language model, real embeddings."""
