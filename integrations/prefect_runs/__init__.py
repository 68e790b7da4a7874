"""Flow runs as seen from the server: woken, told about, never trusted. Plain HTTP: importing
Prefect would cost the server a second and a hundred megabytes.
"""
