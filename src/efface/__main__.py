"""`python -m efface`: the command without its script."""

from efface.cli import main

if __name__ == "__main__":
    main()
