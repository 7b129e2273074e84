"""Folders of evaluations become pages, tables and curves; reads files only."""
