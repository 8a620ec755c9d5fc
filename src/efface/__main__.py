"""`python -m efface`: the command `efface`, where its script is not on the PATH."""

from efface.cli import main

if __name__ == "__main__":
    main()
