"""The docs say what the code says: names, links, defaults and examples are checked against the code."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest
from docs.generate import SETTINGS, TABLES, commands, generated, variable
from PIL import Image, ImageDraw

from pages import DOCS, FENCE, PAGES, ROOT, SHELL, blocks, name, prose, shell, spans
from pages import commands as commands_of
from recsim_tasks.catalogue.feeds.columns import FEED_COLUMNS, check_names
from recsim_tasks.catalogue.feeds.feed_manifest import Manifest, read_manifest
from recsim_tasks.catalogue.feeds.rows import TEXT_COLUMNS, image_bytes, parse_row
from recsim_tasks.contracts import Cursor, Estimate, PlanResult
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.foundation.settings.load import OTHERS
from recsim_tasks.refresh.plan import Champion, Facts, decide, report
from recsim_tasks.release.search_options import SearchOptions
from recsim_tasks.serving.target import STATES
from test_architecture import OLD_WORDS

CODE = ("src", "plugins", "dags", "tests", "benchmarks", "docs", ".ci")
# Drawn on request.
PLOTS = {"docs/images/bench-learning.png"}
# Options of other programs that a page shows: uv, curl.
FOREIGN_OPTIONS = {"--no-config", "--path-as-is", "--python"}
COMMANDS = {
    name: {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    for name, command in commands()
}


every_page = pytest.mark.parametrize("page", PAGES, ids=name)


@cache
def source_files() -> list[Path]:
    return [path for folder in CODE for path in ROOT.glob(f"{folder}/**/*.py")]


@cache
def known_tests() -> set[str]:
    """The names of all test modules and their functions."""
    paths = list(ROOT.glob("tests/**/test_*.py"))
    functions = (
        re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE) for path in paths
    )
    return {path.stem for path in paths} | {name for names in functions for name in names}


@cache
def code_paths() -> list[str]:
    """Modules without their ending, and packages, each with a slash in front."""
    files = [path.relative_to(ROOT) for path in source_files()]
    folders = {parent for path in files for parent in path.parents}
    return [f"/{path.as_posix()}" for path in [*(file.with_suffix("") for file in files), *folders]]


def literal_options(*paths: Path) -> set[str]:
    """Options that the code of a command line names."""
    return {option for path in paths for option in re.findall(r'"(--[a-z][a-z-]*)"', path.read_text())}


# --- generated tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", TABLES)
def test_generated_tables_are_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text() == generated(page), "run `make docs`"


@pytest.mark.parametrize(("page", "table"), [(page, table) for page in TABLES for table in TABLES[page]])
def test_a_table_that_is_out_of_date_would_be_noticed(page: str, table: str) -> None:
    lines = TABLES[page][table]().splitlines()
    assert len(lines) > 4
    assert lines[-1] in (ROOT / page).read_text()


def test_every_setting_is_in_one_table() -> None:
    assert sorted(name for names in SETTINGS.values() for name in names) == sorted(Settings.model_fields)


# --- names ----------------------------------------------------------------------------------------------


@every_page
def test_every_variable_that_a_page_names_exists(page: Path) -> None:
    known = OTHERS | {variable(setting) for setting in Settings.model_fields}
    assert set(re.findall(r"\bRECSIM_[A-Z_]*[A-Z]\b(?![_.]*\.\.)", page.read_text())) - known == set()


@every_page
def test_every_option_of_airflows_configuration_that_a_page_names_exists(page: Path) -> None:
    plugin = "\n".join(path.read_text() for path in ROOT.glob("plugins/**/*.py"))
    read = {option.upper() for option in re.findall(r'conf\.get\("recsim", "(\w+)"', plugin)}
    assert len(read) == 3
    assert set(re.findall(r"AIRFLOW__RECSIM__([A-Z_]+)", page.read_text())) - read == set()


@every_page
def test_every_command_and_option_of_recsim_that_a_page_names_exists(page: Path) -> None:
    assert [fault for text in shell(page) for fault in command_faults(text)] == []


def command_faults(text: str) -> list[str]:
    """What is wrong with the `recsim` commands in a line: unknown commands and options."""
    faults = []
    for line in re.findall(r"(?:^|[\s/])recsim ((?!\w+ ?:)\S.*)", text):
        words = line.split()
        if not re.fullmatch(r"[a-z-]+", words[0]):  # a placeholder such as JOB
            continue
        two = " ".join(words[:2])
        command = two if two in COMMANDS else words[0]
        if any(known.startswith(f"{command} ") for known in COMMANDS):
            continue  # the group `index` itself
        if command.startswith("-"):
            options = {"--help", "--verbose", "-v"}
        elif command in COMMANDS:
            options = COMMANDS[command] | {"--help"}
        else:
            faults.append(f"recsim {command}")
            continue
        named = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line)
        faults += [f"recsim {command} {option}" for option in named if option not in options]
    return faults


def test_a_wrong_command_or_option_would_be_noticed() -> None:
    assert command_faults("recsim inge") == ["recsim inge"]
    assert command_faults("RECSIM_GPUS=1 .venv/bin/recsim plan --accept X") == ["recsim plan --accept"]
    assert command_faults("recsim index append --refresh ID") == []
    assert command_faults("recsim query --image FILE -k 3 --in-stock") == []


@every_page
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    sources = [ROOT / "tests" / "conftest.py", *ROOT.glob("benchmarks/**/*.py")]
    known = {option for options in COMMANDS.values() for option in options} | literal_options(*sources)
    named = {text.split()[0].partition("=")[0] for text in spans(page) if text.startswith("--")}
    assert named - known - FOREIGN_OPTIONS == set()


@every_page
def test_every_make_target_and_argument_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    faults: list[str] = []
    for text in shell(page):
        for target, quoted, bare in re.findall(
            r"(?:^|[\s;&])make ([a-z][a-z-]*)(?: ARGS=(?:[\"']([^\"']*)[\"']|(\S+)))?", text
        ):
            faults += [target] if target not in targets else argument_faults(target, quoted or bare)
    assert faults == []


def argument_faults(target: str, arguments: str) -> list[str]:
    """Options and paths in ARGS that the target's program does not know."""
    benchmark = ROOT / "benchmarks" / target.removeprefix("bench-") / "__main__.py"
    source = benchmark if target.startswith("bench-") else ROOT / "tests" / "conftest.py"
    known = literal_options(source)
    options = [word for word in arguments.split() if word.startswith("--")]
    paths = [word for word in arguments.split() if word.startswith("tests/")]
    return [option for option in options if option not in known] + [
        path for path in paths if not (ROOT / path).exists()
    ]


def test_a_wrong_argument_would_be_noticed() -> None:
    assert argument_faults("bench-serving", "--secs 6 --rounds 1") == ["--secs"]
    assert argument_faults("drill", "tests/nothing --kills 3") == ["tests/nothing"]


@every_page
def test_every_module_that_a_page_starts_exists(page: Path) -> None:
    modules = [module for text in shell(page) for module in re.findall(r"python -m ([\w.]+)", text)]
    paths = {module: ROOT / module.replace(".", "/") for module in modules}
    assert [
        m for m, path in paths.items() if not path.with_suffix(".py").exists() and not path.is_dir()
    ] == []


@every_page
def test_every_python_file_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?<![\w/.])[a-z_]+(?:/[a-z_]+)*\.py\b", page.read_text()))
    there = [f"/{name(path)}" for path in source_files()]
    assert [file for file in named if not any(path.endswith(f"/{file}") for path in there)] == []


def test_every_page_and_image_that_pages_and_code_name_exists() -> None:
    for path in [*PAGES, *source_files(), ROOT / "Makefile", ROOT / "pyproject.toml"]:
        named = re.findall(r"(?<![\w/.])docs/[\w/-]+\.(?:md|png|svg|py)\b", path.read_text())
        assert [file for file in named if not (ROOT / file).exists() and file not in PLOTS] == [], path


@every_page
def test_every_module_or_folder_of_code_that_a_page_names_exists(page: Path) -> None:
    named = {span for span in spans(page) if re.fullmatch(r"[a-z_]+(?:/[a-z_0-9]+)+", span)}
    assert [code for code in named if not any(path.endswith(f"/{code}") for path in code_paths())] == []


@every_page
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert set(re.findall(r"\btest_\w+", page.read_text())) - known_tests() == set()
    named = set(re.findall(r"(?<![\w/.])(?:[a-z0-9_]+/)*test_\w+\.py", page.read_text()))
    files = [f"/{name(path)}" for path in ROOT.glob("tests/**/test_*.py")]
    found = {test: sum(file.endswith(f"/{test}") for file in files) for test in named}
    assert {test: count for test, count in found.items() if count != 1} == {}, "write the path from tests/"
    paths = re.findall(r"(?<![\w/])tests/[\w./-]*\w", page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


@every_page
def test_every_route_and_metric_of_the_api_that_a_page_names_exists(page: Path) -> None:
    from recsim_tasks.serving import health, routes

    known = [re.sub(r"\{.*?\}", "ID", str(getattr(route, "path", ""))) for route in routes.router.routes]
    known += [str(getattr(route, "path", "")) for route in health.router.routes]
    paths = set(re.findall(r"(?<![\w.])/(?:v1|health|metrics|invocations)\b[\w/{}%.-]*", prose(page)))
    assert [path for path in paths if not any(route_matches(route, path) for route in known)] == []
    source = (ROOT / "src/recsim_tasks/serving/prometheus.py").read_text()
    code = " ".join(spans(page))
    metrics = re.findall(r"(?<!/)\b(recsim_(?:request|release|swap|regis|over)\w+)", code)
    names = {re.sub(r"_(?:total|bucket)$", "", metric) for metric in metrics}
    assert [metric for metric in names if f'"{metric}"' not in source] == []


def route_matches(route: str, path: str) -> bool:
    """Whether a path, with any id in place of `ID`, is one of a route."""
    return re.fullmatch(re.escape(route).replace("ID", r"[^/]+"), path.rstrip("/.")) is not None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_words_are_those_of_the_glossary(page: Path) -> None:
    assert re.findall(OLD_WORDS, page.read_text()) == []


# --- links ----------------------------------------------------------------------------------------------


def links(page: Path) -> list[str]:
    """The targets of a page's links and images, without those to other sites."""
    text = re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", prose(page))
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"<img src=\"([^\"]+)\"", text)
    return [link for link in found if not re.match(r"https?://", link)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).lower()
        slug = slug.strip().replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{n}" if n else slug for slug, last in found.items() for n in range(last + 1)}


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert [link for link in links(page) if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_a_broken_link_would_be_noticed() -> None:
    assert leads_somewhere(DOCS / "index.md", "settings.md#locations")
    assert not leads_somewhere(DOCS / "index.md", "settings.md#nowhere")
    assert not leads_somewhere(DOCS / "index.md", "nothing.md")


@pytest.mark.parametrize("index", [DOCS / "index.md", DOCS / "adr" / "README.md"], ids=name)
def test_an_index_leads_to_every_page_of_its_folder(index: Path) -> None:
    unlisted = {path.name for path in index.parent.glob("*.md")} - {index.name} - set(links(index))
    assert unlisted == set(), f"add a line to {name(index)}"


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("0*.md")), ids=name)
def test_a_decision_has_its_parts_in_order(page: Path) -> None:
    parts = re.findall(r"^\*\*(\w+)\.?\*\*", page.read_text(), re.MULTILINE)
    assert parts == ["Status", "Context", "Decision", "Consequences", "Alternatives"]


# --- examples and values --------------------------------------------------------------------------------


def test_the_states_and_options_of_the_api_are_complete() -> None:
    text = (DOCS / "serving.md").read_text()
    states, options = (
        set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE))))
        - {"problem"}
        for table in (section(text, "| `problem` | meaning |"), section(text, "| option | meaning |"))
    )
    assert states - {"null"} == set(STATES)
    assert options == set(SearchOptions.model_fields)


def test_the_page_for_the_person_on_call_has_every_task_and_every_state_of_the_api() -> None:
    text = (DOCS / "operating.md").read_text()
    states = re.findall(r"^\| `(\w+)` \|", section(text, "| `problem` | what to do |"), re.MULTILINE)
    assert sorted(states) == sorted(STATES)
    tasks = re.findall(r"^([\w.]+):", (ROOT / "dags" / "recsim_refresh.yaml").read_text(), re.MULTILINE)
    shown = "".join(re.findall(r"^\| ([^|]+) \|", section(text, "| task | state,"), re.MULTILINE))
    assert {task.rpartition(".")[2] for task in tasks} == set(re.findall(r"`(\w+)`", shown))


def section(text: str, start: str) -> str:
    """A table from its first line on."""
    return text.partition(start)[2].partition("\n\n")[0]


def stated_defaults(page: Path) -> list[tuple[str, str]]:
    """Settings with the number that stands behind them as their default."""
    return re.findall(r"`(RECSIM_[A-Z_]+)`(?: \| |, )(\d[\d.]*\d|\d)(?= \||,| times)", page.read_text())


@every_page
def test_every_default_that_a_page_states_is_the_settings(page: Path) -> None:
    defaults = {variable(setting): field.default for setting, field in Settings.model_fields.items()}
    wrong = [
        (setting, value)
        for setting, value in stated_defaults(page)
        if float(value) != float(defaults[setting])
    ]
    assert wrong == []


def test_defaults_are_found_where_pages_state_them() -> None:
    assert all(len(stated_defaults(DOCS / page)) > 3 for page in ("plan.md", "feeds.md", "release.md"))


def test_the_settings_file_of_the_docs_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = blocks(DOCS / "settings.md", "toml")
    (tmp_path / "recsim.toml").write_text(text)
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "recsim.toml"))
    settings = load_settings()
    stated = tomllib.loads(text)
    assert {key: str(getattr(settings, key)) for key in stated} == {
        key: str(value) for key, value in stated.items()
    }


def test_the_columns_of_the_docs_are_those_of_a_feed() -> None:
    text = (DOCS / "feeds.md").read_text()
    manifest, columns = (
        re.findall(r"^\| `(\w+)` \|", text.partition(heading)[2].partition("\n\n## ")[0], re.MULTILINE)
        for heading in ("## The manifest", "## The rows")
    )
    assert manifest == list(Manifest.model_fields)
    assert sorted(columns) == sorted(FEED_COLUMNS)


def manifests(page: Path) -> list[str]:
    """The JSON blocks that are manifests of feeds."""
    return [text for text in blocks(page, "json") if "feed_id" in json.loads(text)]


FEEDS = [page for page in PAGES if manifests(page) or blocks(page, "csv")]


@pytest.mark.parametrize("page", FEEDS, ids=name)
def test_the_feed_of_a_page_is_valid(page: Path, tmp_path: Path) -> None:
    (manifest,), (rows,) = manifests(page), blocks(page, "csv")
    (tmp_path / "manifest.json").write_text(manifest)
    records = list(csv.DictReader(rows.splitlines()))
    check_names(tmp_path / "products.csv", list(records[0]))
    assert read_manifest(tmp_path).rows == len(records)
    (tmp_path / "images").mkdir()
    for record in records:
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).rectangle((8, 8, 40, 40), "brown")
        image.save(tmp_path / record["image_path"])
        cells = {column: record.get(column) for column in TEXT_COLUMNS}
        row = parse_row(cells, image_bytes(cells, None, tmp_path), 10_000)
        assert (row.op, row.product_id, row.stated["price"]) == (
            "upsert",
            record["product_id"],
            float(record["price"]),
        )
        assert row.image_hash


def test_the_listing_of_the_smallest_feed_names_its_files() -> None:
    (listing,), (rows,) = blocks(DOCS / "feeds.md", "text"), blocks(DOCS / "feeds.md", "csv")
    images = {record["image_path"].rpartition("/")[2] for record in csv.DictReader(rows.splitlines())}
    assert set(re.findall(r"[\w.]+\.\w+", listing)) == {"products.csv", "manifest.json"} | images


def test_the_plan_of_the_docs_is_printed_like_that(settings: Settings) -> None:
    (text,) = blocks(DOCS / "plan.md", "text")
    changes = {"insert": 1_000, "replace": 200, "update": 300, "delete": 100}
    head = Cursor("products", 41)
    champion = Champion(
        cursor=Cursor("products", 38),
        built=60_000,
        churn=0,
        recall=0.99,
        model_days=1.0,
        unseen=0,
        categories=frozenset(),
    )
    plan = decide(Facts(champion, head, changes, products=61_000), settings)
    result = PlanResult(
        refresh_id="nightly-12",
        decision=plan.decision,
        reasons=plan.reasons,
        warm_start=plan.warm_start,
        cursor=champion.cursor,
        head=head,
        changes=changes,
        champion=1,
        champion_unreadable=None,
        estimate=Estimate(images=1_200, minutes=1.7),
    )
    assert text.splitlines() == report(result)


# --- every block ----------------------------------------------------------------------------------------

# By page and language: blocks that a test reads, each of them the only one of its kind.
CHECKED = {
    ("docs/feeds.md", "text"): test_the_listing_of_the_smallest_feed_names_its_files,
    ("docs/plan.md", "text"): test_the_plan_of_the_docs_is_printed_like_that,
    ("docs/settings.md", "toml"): test_the_settings_file_of_the_docs_is_valid,
    ("docs/operating.md", "python"): "tests/docs/test_operating.py runs it",
}
# By program: where its commands are checked. `curl` and what runs Python are below.
PROGRAMS = {
    "recsim": test_every_command_and_option_of_recsim_that_a_page_names_exists,
    "make": test_every_make_target_and_argument_that_a_page_names_exists,
    "airflow": "tests/dags/test_operating_requests.py",
    "$uv": "test_every_option_of_uv_that_a_page_names_exists",
}
# Commands that tests run as they stand in docs/operating.md, by their beginning.
RUN = ("find ", "mlflow gc ")
# They have nothing that could become wrong here.
PLAIN = {"cd", "cp", "git", "mkdir", "mv"}
API = re.compile(r"/(?:v1|health|invocations|metrics)\b")


@every_page
def test_every_block_of_a_page_is_run_or_checked(page: Path) -> None:
    assert [f"{name(page)}:{line}: {what}" for line, what in unchecked(page.read_text(), name(page))] == []


def unchecked(page: str, file: str) -> Iterator[tuple[int, str]]:
    """The blocks, and the commands of shell blocks, that no test runs or checks."""
    before = ""
    for block in FENCE.finditer(page):
        kind, text = block.groups()
        line = page.count("\n", 0, block.start()) + 2
        if kind in SHELL:
            found = commands_of(text)
            yield from ((line + at, command) for at, command in found if not is_checked(command, file))
            before = found[-1][1] if found else ""
            continue
        is_answer = before.startswith("curl ") and API.search(before)
        if kind == "json":
            checked = is_answer or "feed_id" in json.loads(text)
        else:
            checked = kind == "csv" or (file, kind) in CHECKED
        if not checked:
            yield line, f"no test reads this block of {kind}; see CHECKED"
        before = ""


def is_checked(command: str, file: str) -> bool:
    """Whether a test runs a command of a page, or checks its parameters."""
    words = re.sub(r"^(?:\w+=(?:\$\(|\S*\s*))+", "", command).split()
    if not words:
        return True  # only an assignment
    program = words[0].rpartition("/")[2]
    if program == "curl":
        sent = API.search(command) or (file == "docs/operating.md" and "$AIRFLOW" in command)
        return bool(sent) and ("=$(" in command or command.startswith("curl "))
    if program in ("python", "python3"):
        return "-m" in words or runs_a_script(words[1:])
    return (
        program in PROGRAMS or program in PLAIN or (file == "docs/operating.md" and command.startswith(RUN))
    )


def runs_a_script(words: list[str]) -> bool:
    """Whether one of the words is a Python file of ours, and the options after it are in its code."""
    at = next((at for at, word in enumerate(words) if (ROOT / word.rstrip(")")).is_file()), None)
    if at is None:
        return False
    source = (ROOT / words[at].rstrip(")")).read_text()
    return all(f'"{word}"' in source for word in words[at + 1 :] if word.startswith("-"))


def test_a_block_that_no_test_reads_would_be_noticed() -> None:
    page = """
```json
{"release": 1}
```

```sh
recsim status
jq . answer.json
curl -s \\
  http://127.0.0.1:8000/nothing
A=1 make check
TOKEN=$(cat token)
python docs/examples/similar.py a.png -k 3
python docs/examples/similar.py a.png --top 3
```

```yaml
a: 1
```
"""
    assert list(unchecked(page, "README.md")) == [
        (3, "no test reads this block of json; see CHECKED"),
        (8, "jq . answer.json"),
        (9, "curl -s    http://127.0.0.1:8000/nothing"),
        (12, "TOKEN=$(cat token)"),
        (14, "python docs/examples/similar.py a.png --top 3"),
        (18, "no test reads this block of yaml; see CHECKED"),
    ]


@every_page
def test_every_option_of_uv_that_a_page_names_exists(page: Path) -> None:
    shown = [text for text in shell(page) if text.startswith("$uv ")]
    if not shown:
        return
    uv = subprocess.run(
        [sys.executable, "-I", ".ci/private_uv.py"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for words in map(shlex.split, shown):
        named = {word for word in words if word.startswith("--")}
        subcommand = list(takewhile(lambda word: not word.startswith("-"), words[1:]))[:2]
        text = subprocess.run(
            [uv.stdout.strip(), *subcommand, "--help"], check=True, capture_output=True, text=True
        )
        assert named <= set(re.findall(r"--[a-z-]+", text.stdout))
