"""One class per system under test."""
