"""The page of `openlvm serve`: build a prompt from pictures, and see the answer while it is drawn (Gradio)."""
