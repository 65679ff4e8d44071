"""What the web process answers: ways in, health, the dashboard."""
