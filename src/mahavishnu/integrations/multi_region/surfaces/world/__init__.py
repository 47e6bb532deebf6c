"""The world file: one YAML document that declares regions, services, policies and safety limits as a whole."""
