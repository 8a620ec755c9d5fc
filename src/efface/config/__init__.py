"""Settings: the config of each command, presets and plug-ins, from YAML files and key=value pairs. No torch."""
