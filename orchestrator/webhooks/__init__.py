"""Webhooks: who may receive them, what is sent, how it is signed, and a receiver to try it with."""
