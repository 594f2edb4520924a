"""The Django side: settings, the apps that hold the truth in PostgreSQL, the console and the control API."""
