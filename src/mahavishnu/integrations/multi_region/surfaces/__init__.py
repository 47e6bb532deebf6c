"""How people and programs reach the shell. No decisions here."""
