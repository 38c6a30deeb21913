"""Settings of Spark for tests, whose tables have few rows."""

from __future__ import annotations

# To compile a plan, or to plan each stage anew, takes longer than to run it.
SHORT_PLANS = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
