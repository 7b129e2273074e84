"""Who tokenizes the parts of a store: this process, a pool of processes, or the actors of a Ray cluster."""
