"""`python -m cli`: the same as the command `fabric`."""

from cli.main import main

if __name__ == "__main__":
    main()
