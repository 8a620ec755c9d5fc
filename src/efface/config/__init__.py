"""Settings: of each command, of a queue of requests, presets, plug-ins; read from YAML and key=value."""
