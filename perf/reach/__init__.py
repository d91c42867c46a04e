"""Scenarios."""


def main(arguments: list[str]) -> int:
    return 2
