"""The benchmarks lie beside the source and are installed nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
