"""The sections of the page on an audit and on a search for settings. No torch."""
