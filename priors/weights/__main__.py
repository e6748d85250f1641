"""``python -m priors.weights``: register every file of weights in this folder by its hash."""

from __future__ import annotations

from priors.weights import shelf


def main() -> None:
    """Write the registry anew."""
    names = shelf().register()
    print(f"{len(names)} registered: {', '.join(names)}")


if __name__ == "__main__":
    main()
