"""The primer: what the layers of this project do, seen on small examples that the layers themselves compute."""
