"""Words on a command line -> one call of the library, and a table, a file or one sentence for the user.

`common` has what commands share; `unlearn`, `results` and `data` have one file for each command or group of commands.
"""

from efface.cli.main import app, main

__all__ = ["app", "main"]
