"""``python -m priors.weights``: register every file of weights in this folder by its hash."""

from __future__ import annotations

import hashlib
import json

from priors.weights import FOLDER, REGISTRY


def main() -> None:
    """Write the registry anew."""
    files = sorted(FOLDER.glob("*.safetensors"))
    entries = {p.stem: {"file": p.name, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in files}
    (FOLDER / REGISTRY).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    print(f"{len(entries)} registered: {', '.join(entries)}")


if __name__ == "__main__":
    main()
