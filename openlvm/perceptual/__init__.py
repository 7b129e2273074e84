"""How alike two pictures look to a network: feature distances, and statistics of features over many pictures."""
