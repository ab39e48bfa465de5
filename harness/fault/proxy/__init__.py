"""The fault proxy: a process of its own between clients and a service, told what to break by Toxiproxy's API."""
