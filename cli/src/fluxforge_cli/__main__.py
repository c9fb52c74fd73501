"""`python -m fluxforge_cli`: the same as the `fluxforge` command."""

from fluxforge_cli.main import main

if __name__ == "__main__":
    main()
