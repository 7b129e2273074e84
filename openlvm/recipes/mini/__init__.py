"""The embedded model `mini`: its data, its tokenizer, its decoder."""
