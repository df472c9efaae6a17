"""The queue of an environment as a Serve deployment, and the permit client that talks to it."""
