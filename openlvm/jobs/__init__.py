"""What joins several floors: running a recipe from raw data to weights, and the demo."""
