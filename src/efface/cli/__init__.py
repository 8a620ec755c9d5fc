"""A command line -> one call of the library; a table, a file or an error message for the user.

`common` has what commands share; `unlearn`, `results` and `data` have one file for each command or group of commands.
"""

from efface.cli.main import app, main

__all__ = ["app", "main"]
