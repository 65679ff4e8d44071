"""What e-mail is like. Pure functions without I/O; each takes time linear in the length of its input."""
