"""Run folders become tables and plots; reads files only, so that a report can be drawn where nothing was trained."""
