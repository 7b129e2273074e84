"""Training a decoder on the sentences of a plan: rows, the chunked loss, the task, whole runs."""
