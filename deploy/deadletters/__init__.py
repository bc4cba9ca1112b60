"""Dead letters at the command line: what there is, what one is, and sending them again."""
