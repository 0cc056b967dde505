"""The server: ingest, sessions, batched encoding, labels out."""
