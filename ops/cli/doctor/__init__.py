"""`coderack doctor`: what of the machine, of what is installed and what runs is not well, and what to do."""
