"""The pages of the docs, and what is in them: prose, code, fenced blocks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("", "sh", "bash", "console")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def spans(page: Path) -> list[str]:
    """The inline code."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))


def commands(text: str) -> list[tuple[int, str]]:
    """The commands of a shell block, each with the number of its line, counted from 0."""
    joined = re.sub(r"(\\|(?<=\|))\n", lambda end: f"{end[0][:-1]}\0", text)
    found, number = [], 0
    for line in joined.splitlines():
        command = re.sub(r"(^|\s)# .*", "", line.replace("\\\0", " ").replace("\0", " ")).strip()
        if command:
            found.append((number, command.removeprefix("$ ")))
        number += 1 + line.count("\0")
    return found


def shell(page: Path) -> list[str]:
    """Inline code, and the lines of shell blocks without their comments."""
    lines = [line for kind in SHELL for text in blocks(page, kind) for line in text.splitlines()]
    return spans(page) + [re.sub(r"(^|\s)# .*", "", line).strip().removeprefix("$ ") for line in lines]
