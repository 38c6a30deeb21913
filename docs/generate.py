"""Write the tables of the docs that are generated from code: `make docs`.

A table is between `<!-- generated: NAME -->` and `<!-- end -->`. A test checks that none is out of date.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from recsim_tasks.cli.main import app
from recsim_tasks.foundation.settings import (
    GateSettings,
    GuardSettings,
    LearningSettings,
    LocationSettings,
    PlanSettings,
    ServingSettings,
    Settings,
    SparkSettings,
    VectorSettings,
)

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = sorted((ROOT / "src" / "recsim_tasks" / "contracts").glob("*.py"))


TUNING = [name for name in LearningSettings.model_fields if name.startswith("tune_")]
SETTINGS: dict[str, list[str]] = {
    "locations": list(LocationSettings.model_fields),
    "spark": list(SparkSettings.model_fields),
    "feeds": list(GuardSettings.model_fields),
    "training": [name for name in LearningSettings.model_fields if name not in TUNING],
    "tuning": TUNING,
    "vectors": list(VectorSettings.model_fields),
    "gate": list(GateSettings.model_fields),
    "plan": list(PlanSettings.model_fields),
    "serving": list(ServingSettings.model_fields),
}
"""The settings of each table of docs/settings.md."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return str(Settings.model_fields[name].validation_alias or f"RECSIM_{name.upper()}")


def settings_table(names: list[str]) -> str:
    """One row per setting: variable, default, values, description."""
    schema = Settings.model_json_schema()["properties"]
    rows = []
    for name in names:
        field = Settings.model_fields[name]
        kind = schema[str(field.validation_alias or name)]
        rows.append(
            f"| `{variable(name)}` | {_default(field.default)} | {_values(kind)} | {field.description} |"
        )
    return "\n".join(["| setting | default | values | meaning |", "|---|---|---|---|", *rows])


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """Every command with its name, such as `index build`."""
    yield from _commands(get_command(app), "")


def commands_table() -> str:
    """One row per command: its name, what it does, its options."""
    rows = [f"| `recsim {name}` | {command.help} | {_options(command)} |" for name, command in commands()]
    return "\n".join(["| command | what it does | options |", "|---|---|---|", *rows])


def results_tables() -> str:
    """One table per result of a job: field, type, meaning."""
    by_name = _contracts()
    return "\n\n".join(_section(node, by_name) for node in by_name.values() if "JobResult" in _bases(node))


def records_tables() -> str:
    """One table per record that results contain."""
    by_name = _contracts()
    records = [node for node in by_name.values() if "JobResult" not in _bases(node)]
    return "\n\n".join(_section(node, by_name) for node in records if _fields(node, by_name))


def _contracts() -> dict[str, ast.ClassDef]:
    statements = [node for path in CONTRACTS for node in ast.parse(path.read_text()).body]
    return {node.name: node for node in statements if isinstance(node, ast.ClassDef)}


def _section(node: ast.ClassDef, by_name: dict[str, ast.ClassDef]) -> str:
    rows = [f"| `{name}` | `{kind}` | {meaning} |" for name, kind, meaning in _fields(node, by_name)]
    title = f"### {node.name}\n\n{' '.join((ast.get_docstring(node) or '').split())}"
    return "\n".join([title, "", "| field | type | meaning |", "|---|---|---|", *rows])


def _fields(node: ast.ClassDef, by_name: dict[str, ast.ClassDef]) -> list[tuple[str, str, str]]:
    """Name, type and docstring of the fields of a class and its bases."""
    found = [field for base in _bases(node) if base in by_name for field in _fields(by_name[base], by_name)]
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        kind = ast.unparse(statement.annotation)
        if not kind.startswith("ClassVar"):
            name = _alias(statement.value) or statement.target.id
            found.append((name, kind.replace("|", "\\|"), _docstring(after)))
    return found


def _bases(node: ast.ClassDef) -> list[str]:
    return [base.id for base in node.bases if isinstance(base, ast.Name)]


def _alias(default: ast.expr | None) -> str | None:
    """The name of a field in JSON, if its default is a `Field` with an `alias`."""
    keywords = default.keywords if isinstance(default, ast.Call) else []
    return next((ast.literal_eval(word.value) for word in keywords if word.arg == "alias"), None)


def _docstring(statement: ast.stmt | None) -> str:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return " ".join(str(value.value).split()) if isinstance(value, ast.Constant) else ""


def _default(value: object) -> str:
    """A default as a settings file has it."""
    shown = str(value).lower() if isinstance(value, bool) else value
    return "" if value is None else f"`{shown}`"


def _values(kind: dict[str, object]) -> str:
    """The valid values of a setting, from its JSON schema."""
    if isinstance(alternatives := kind.get("anyOf"), list):
        kind = alternatives[0]
    if isinstance(values := kind.get("enum"), list):
        return ", ".join(f"`{value}`" for value in values)
    if kind["type"] == "boolean":
        return "`true`, `false`"
    if kind["type"] == "string":
        return {"path": "path", "password": "secret"}.get(str(kind.get("format")), "text")
    number = "integer" if kind["type"] == "integer" else "number"
    if "maximum" in kind:
        return f"{number}, {kind['minimum']} to {kind['maximum']:,}"
    if "minimum" in kind:
        return f"{number}, at least {kind['minimum']}"
    return f"{number}, more than {kind['exclusiveMinimum']}" if "exclusiveMinimum" in kind else number


def _commands(command: object, name: str) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperCommand):
        yield name, command
    if isinstance(command, TyperGroup):
        for part, sub in command.commands.items():
            yield from _commands(sub, f"{name} {part}".strip())


def _options(command: TyperCommand) -> str:
    """The command's arguments in brackets, then its options."""
    options = [parameter for parameter in command.params if isinstance(parameter, TyperOption)]
    arguments = [parameter.name for parameter in command.params if parameter not in options]
    names = [*(f"[{str(name).upper()}]" for name in arguments), *(option.opts[0] for option in options)]
    return ", ".join(f"`{name}`" for name in names)


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "docs/settings.md": {name: partial(settings_table, names) for name, names in SETTINGS.items()},
    "docs/jobs.md": {"commands": commands_table, "results": results_tables, "records": records_tables},
}
"""The tables of each page."""


def generated(page: str) -> str:
    """The text of a page with its tables as they must be."""
    text = (ROOT / page).read_text()
    for name, make in TABLES[page].items():
        start, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(start)
        if not found:
            raise SystemExit(f"{page} has no line {start.strip()}")
        text = f"{before}{start}{make()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for page in TABLES:
        (ROOT / page).write_text(generated(page))
