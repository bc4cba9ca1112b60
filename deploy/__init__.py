"""How tinyt2 is run: command line, settings, wiring, HTTP."""
