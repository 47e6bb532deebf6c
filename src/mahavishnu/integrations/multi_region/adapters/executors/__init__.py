"""What puts a version into a region: a command of the operator's, or a signed call to a web address."""
