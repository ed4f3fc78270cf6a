"""``python -m server`` and the program ``o11y``."""

from server.command.cli import app


def main() -> None:
    app()


if __name__ == "__main__":
    main()
