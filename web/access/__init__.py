"""Who may see and put: logins, sessions, and what a browser is told to be careful about."""
