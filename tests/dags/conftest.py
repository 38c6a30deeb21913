from __future__ import annotations

import os
import tempfile

# Importing Airflow writes a configuration file into its home: not into the developer's.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="recsim-airflow-home-")
