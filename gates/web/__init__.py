"""The server's face: the API for processes, the inbox for people, health for machines."""
