"""What one foreign client sends, whatever it is, and how long another client's get takes meanwhile."""
