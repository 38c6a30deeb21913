from __future__ import annotations

from recsim_tasks.contracts import EmbedResult, TrainResult, TuneResult


def test_the_summary_of_a_search_is_its_reasons() -> None:
    tuned = TuneResult(
        best_params={},
        trials=4,
        failed=0,
        pruned=1,
        metric="map_at_r",
        best_score=0.71,
        champion_score=None,
        reasons=[],
    )
    assert tuned.summary == "best map_at_r 0.710 of 4 trials"
    assert tuned.model_copy(update={"reasons": ["Kept."]}).summary == "Kept."


def test_the_summary_of_a_training_has_the_measures_of_test_images_first() -> None:
    trained = TrainResult(
        model_fingerprint="0123456789abcdef",
        ranks=2,
        metrics={"map_at_r": 0.7},
        quality={"precision_at_1": 0.9},
        mlflow_run_id="run",
        trained_at=0.0,
    )
    assert trained.summary == (
        "encoder 0123456789ab by 2 ranks; test images: precision_at_1 0.900; "
        "validation images: map_at_r 0.700"
    )
    assert "test images" not in trained.model_copy(update={"quality": {}}).summary


def test_the_summary_of_an_embedding_says_n_of_m() -> None:
    embedded = EmbedResult(embedded=1_200, reused=59_000, of=60_200, unembeddable=0)
    assert embedded.summary == "embedded 1,200 of 60,200, reused 59,000"
