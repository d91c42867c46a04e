"""One small start script per rival: the only places that import them. Each takes the port as its argument."""
