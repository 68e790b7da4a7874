"""A reverse proxy before somebody else's HTTP API: no grant, no write."""
