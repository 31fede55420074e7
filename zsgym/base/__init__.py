"""What every room builds on: errors, files, folders, numbers with units, tables, drawings. Imports no other room."""
