"""The settings of a run -> everything that it needs, read and checked before anything is written."""
