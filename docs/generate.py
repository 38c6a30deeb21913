"""Write the tables of the docs that are generated from code: `make docs`.

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`. A test checks that none is out of date.
"""

from __future__ import annotations

import ast
from pathlib import Path

from recsim_tasks.foundation.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = sorted((ROOT / "src" / "recsim_tasks" / "contracts").glob("*.py"))


def settings_table() -> str:
    """One row per setting: variable, default, description."""
    rows = [
        f"| `{field.validation_alias or f'RECSIM_{name.upper()}'}` "
        f"| {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def results_tables() -> str:
    """One table per job, and one per record that a result contains: field, type, meaning."""
    statements = [node for path in CONTRACTS for node in ast.parse(path.read_text()).body]
    classes = [node for node in statements if isinstance(node, ast.ClassDef)]
    by_name = {node.name: node for node in classes}
    results = [node for node in classes if node.name.endswith("Result") and node.name != "JobResult"]
    records = [node for node in classes if node not in results and _fields(node, by_name)]
    return "\n\n".join(_section(node, by_name) for node in [*results, *records])


def _section(node: ast.ClassDef, by_name: dict[str, ast.ClassDef]) -> str:
    rows = [f"| `{name}` | `{kind}` | {meaning} |" for name, kind, meaning in _fields(node, by_name)]
    title = f"### {node.name}\n\n{' '.join((ast.get_docstring(node) or '').split())}"
    return "\n".join([title, "", "| field | type | meaning |", "|---|---|---|", *rows])


def _fields(node: ast.ClassDef, by_name: dict[str, ast.ClassDef]) -> list[tuple[str, str, str]]:
    """Name, type and docstring of the fields of a class and its bases."""
    bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in by_name]
    found = [field for base in bases for field in _fields(by_name[base], by_name)]
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        kind = ast.unparse(statement.annotation)
        if not kind.startswith("ClassVar"):
            name = _alias(statement.value) or statement.target.id
            found.append((name, kind.replace("|", "\\|"), _docstring(after)))
    return found


def _alias(default: ast.expr | None) -> str | None:
    """The name of a field in JSON, if its default is a `Field` with an `alias`."""
    keywords = default.keywords if isinstance(default, ast.Call) else []
    return next((ast.literal_eval(word.value) for word in keywords if word.arg == "alias"), None)


def _docstring(statement: ast.stmt | None) -> str:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return " ".join(str(value.value).split()) if isinstance(value, ast.Constant) else ""


def _default(value: object) -> str:
    return "" if value is None else f"`{value}`"


TABLES = {
    "README.md": {"settings": settings_table},
    "docs/jobs.md": {"results": results_tables},
}


def generated(page: str) -> str:
    """The text of a page with its tables as they must be."""
    text = (ROOT / page).read_text()
    for name, make in TABLES[page].items():
        start, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
        before, _, rest = text.partition(start)
        text = f"{before}{start}{make()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for page in TABLES:
        (ROOT / page).write_text(generated(page))
