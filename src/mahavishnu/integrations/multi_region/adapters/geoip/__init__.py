"""Places of Internet addresses, from an MMDB file of the operator's own: none ships with the package."""
