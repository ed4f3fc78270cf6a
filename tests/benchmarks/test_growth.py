"""What the table of growth says of a cost."""

from rich.console import Console

from benchmarks.growth import growth_table


def test_costs_are_multiples_of_the_first_rows_and_memory_is_none() -> None:
    """A cost that is not flat is told; memory of which the first row took none has no multiple."""
    found = {
        "small": {"d2, CPU ns a sample": 4.0, "d2, memory MiB": 0.0},
        "long": {"d2, CPU ns a sample": 6.0, "d2, memory MiB": 2.0},
        "wide": {"d2, CPU ns a sample": 7.0, "d2, memory MiB": 0.0},
    }
    console = Console(width=120)
    with console.capture() as printed:
        console.print(growth_table(found))
    lines = [line for line in printed.get().splitlines() if "d2" in line]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    assert cells == [
        ["d2, CPU ns a sample", "4", "6 (1.50x)", "7 (1.75x, not flat)"],
        ["d2, memory MiB", "0", "2", "0"],
    ]
