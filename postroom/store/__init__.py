"""The store: one SQLite file that holds every message, decision, delivery and attempt."""
