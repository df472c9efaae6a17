"""What a run, simulated or live, came to: measured, written as JSON, drawn and compared."""
