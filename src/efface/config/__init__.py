"""YAML files, presets and key=value pairs -> validated settings of each command; the plug-ins that they name."""
