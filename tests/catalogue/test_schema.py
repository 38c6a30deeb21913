from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import recsim_tasks
from recsim_tasks.catalogue.schema import (
    ANSWERED,
    INDEXED,
    KEPT,
    PRODUCT_TYPES,
    STATED,
    arrow_schema,
    select_types,
    spark_ddl,
)

TESTS = Path(__file__).parent.parent
PRICE = '    Field(name="price",'
BRAND = '    Field(name="brand", type="string"),\n'


def test_every_field_is_the_key_stated_or_kept() -> None:
    assert ["product_id", *STATED, *KEPT] == list(PRODUCT_TYPES)
    assert ("product_id", *STATED) == ANSWERED
    assert (*ANSWERED, "image_hash") == INDEXED


def test_spark_and_arrow_get_the_same_columns() -> None:
    assert spark_ddl(select_types(("product_id", "price"))) == "product_id string, price double"
    schema = arrow_schema(PRODUCT_TYPES)
    assert schema.names == list(PRODUCT_TYPES)
    assert schema.field("updated_at").type == pa.timestamp("us", "UTC")


@pytest.mark.spark
def test_a_new_field_is_one_line_of_the_schema_and_reaches_tables_and_answers(tmp_path: Path) -> None:
    source = tmp_path / "src" / "recsim_tasks"
    shutil.copytree(Path(recsim_tasks.__file__).parent, source, ignore=shutil.ignore_patterns("__pycache__"))
    schema = source / "catalogue" / "schema.py"
    schema.write_text(schema.read_text().replace(PRICE, BRAND + PRICE))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECSIM_")}
    environment |= {
        "PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{TESTS}",
        "RECSIM_HOME": str(tmp_path / "home"),
    }
    program = TESTS / "catalogue" / "product_with_brand.py"
    completed = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr[-3000:]
    assert json.loads(completed.stdout.splitlines()[-1]) == {
        "catalogue": {"a": "Apex", "b": "Borealis", "c": "Corona"},
        "changes": [
            {"product_id": "a", "kind": "update", "brand": "Apex"},
            {"product_id": "b", "kind": "insert", "brand": "Borealis"},
            {"product_id": "c", "kind": "insert", "brand": "Corona"},
        ],
        "quarantine": "Dorado",
        "answer": {"b": "Borealis", "c": "Corona"},
    }
