"""``python -m server`` and the program ``o11y``."""

from server.starting import keep_bytecode, rare_collections


def main() -> None:
    keep_bytecode()
    with rare_collections():
        # Imported here because both are for what it imports.
        from server.command.cli import app
    app()


if __name__ == "__main__":
    main()
