"""What joins several floors: running a recipe from raw data to weights, the demo, fitting a folder of pairs."""
