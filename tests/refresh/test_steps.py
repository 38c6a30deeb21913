from __future__ import annotations

import threading
import time

import pytest
from deltalake import DeltaTable

from recsim_tasks.foundation.errors import HeldError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh import steps
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.vectors.index import Index
from refresh.conftest import PRODUCTS
from refresh.test_facts import planned


def test_who_writes_a_refreshs_index_waits_for_whoever_does_already(behind: Settings) -> None:
    planned(behind)
    workspace = Workspace.of(behind, "r")
    append = threading.Thread(target=steps.append_index, args=(behind, workspace))
    with lease(behind.home, str(workspace.index)):
        append.start()
        time.sleep(1)
        assert append.is_alive()
        assert not workspace.index.exists()
    append.join(timeout=60)
    assert len(Index.open(workspace.index)) == PRODUCTS


def test_an_index_is_verified_by_hand_and_one_that_lags_behind_is_held(behind: Settings) -> None:
    planned(behind)
    workspace = Workspace.of(behind, "r")
    steps.append_index(behind, workspace)
    told = steps.verify_index(behind, workspace)
    assert (told["equal"], told["compared"], told["differing"], told["overlap"]) == (True, PRODUCTS, 0, 1.0)
    DeltaTable(behind.products_uri).update({"price": "1.0"}, predicate="product_id < 'p007'")
    planned(behind)
    with pytest.raises(HeldError, match="0 are missing, 0 are too many, 7 are outdated") as held:
        steps.verify_index(behind, workspace)
    assert held.value.result["equal"] is False
