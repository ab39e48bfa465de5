"""Several load processes that drive one level together, over Locust's master and workers."""
