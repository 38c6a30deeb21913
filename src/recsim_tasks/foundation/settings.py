"""The settings, read once at the start of a job; the only module that looks at the environment.

Order: `RECSIM_*` variables, then the TOML file named by `RECSIM_CONFIG`, then the defaults below.
"""

from __future__ import annotations

import os
import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.foundation.redaction import SHORTEST_SECRET, redact_from_now_on, redacted

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "RECSIM_"
# Of the Prometheus library, which decides at its import whether it counts for one process or for several.
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"
# Read by others than Settings: the file's own name, the operator's pid, where the demo finds its images.
OTHER_VARIABLES = {"RECSIM_CONFIG", "RECSIM_PARENT_PID", "RECSIM_DEMO_DATA"}
# Of MLflow's and AWS's clients, which take their credentials from here.
MLFLOW_USERNAME, MLFLOW_PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
SECRET_VARIABLES = (
    MLFLOW_PASSWORD,
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PGPASSWORD",
)
# Of a database's URI, as SQLAlchemy reads it.
PASSWORD = re.compile(r"[^:/]+://[^:/@]*:(\S*)@")


def _without_credentials(location: str) -> str:
    """Locations are shown, logged and stored; what they are opened with has variables of its own."""
    if redacted(location) != location:
        raise ValueError(
            "must not carry credentials: set those of an object store as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return location


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Location = Annotated[str, AfterValidator(_without_credentials)]
# A variable is text, which no literal equals.
Channels = Annotated[
    Literal[1, 3], BeforeValidator(lambda given: int(given) if given in ("1", "3") else given)
]


class Settings(BaseSettings):
    """Every setting with its default; a description is one row of the README's table."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(
        Path(".recsim"), description="Folder of the embedded default: tables, MLflow, workspaces."
    )
    inbox: Location | None = Field(
        None, description="Folder in which feeds land, or its URI in an object store; default `HOME/inbox`."
    )
    products: Location | None = Field(
        None, description="URI of the catalogue table; default `HOME/tables/products`."
    )
    quarantine: Location | None = Field(
        None, description="URI of the quarantine table; default `HOME/tables/quarantine`."
    )
    withdrawals: Location | None = Field(
        None,
        description="URI of the table that remembers when products were deleted; default `HOME/tables/withdrawals`.",
    )
    embeddings: Location | None = Field(
        None, description="URI of the embeddings table; default `HOME/tables/embeddings`."
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        validation_alias="MLFLOW_TRACKING_URI",
        description="MLflow server (variable `MLFLOW_TRACKING_URI`); default SQLite under `HOME/mlflow`.",
    )

    spark_master: Location = Field(
        "local[2]", description="Spark master that ingest, embedding, tuning and training run on."
    )
    spark_driver_memory: str = Field("2g", description="Memory of the Spark driver, in Spark's notation.")
    spark_shuffle_partitions: Count = Field(
        4, description="Partitions of a shuffle; raise it with the cluster."
    )

    image_size: Annotated[int, Field(ge=16, le=512)] = Field(
        64, description="Side of the model's input, pixels."
    )
    image_channels: Channels = Field(3, description="Channels of the model's input: 1 grey, 3 colour.")
    image_max_pixels: Annotated[int, Field(ge=1, le=89_478_485)] = Field(
        40_000_000, description="A larger product image goes to quarantine."
    )
    placeholder_products: Count = Field(
        100,
        description="A picture that more products of one feed share than this is a placeholder and goes to quarantine.",
    )

    backbone: Literal["cnn", "resnet18", "efficientnet-b0"] = Field(
        "cnn", description="What the network sees with: a small CNN, or one of TF Similarity's architectures."
    )
    backbone_weights: Path | None = Field(
        None, description="Keras file (`.h5`) with weights that the backbone starts from."
    )
    ranks: Count = Field(2, description="Horovod ranks of one training; one GPU each when there are GPUs.")
    gpus: Annotated[int, Field(ge=0)] = Field(
        0,
        description="GPUs for tuning and training, in all: the slots of `gpu_pool`; 0 trains on CPU threads.",
    )
    deterministic: bool = Field(
        False,
        description="Whether training on a GPU gives the same model to the bit each time, about a fifth slower; on processors it does anyway.",
    )
    embedding_size: Annotated[int, Field(ge=8, le=1024)] = Field(128, description="Length of an embedding.")
    train_images: Count = Field(
        250_000, description="Images that training sees in all, counted with repetition."
    )
    warm_start: bool = Field(
        False,
        description="Whether a model of the champion's own kind is trained from the champion's weights.",
    )
    tune_trials: Count = Field(4, description="Trials of one search.")
    tune_minutes: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Minutes after which a search ends with what it has."
    )
    tune_parallel: Count = Field(2, description="Trials that run at a time, each on a device of its own.")
    tune_images: Count = Field(8_000, description="Images that one trial sees, counted with repetition.")
    seed: int = Field(20, description="Seed of the search, the batches and the samples.")

    embed_commit_images: Count = Field(
        50_000, description="Images that embedding commits at a time: what a killed run can lose."
    )
    index_exact_below: Count = Field(
        20_000, description="Below this many products the index searches exactly."
    )
    index_recall: Share = Field(
        0.99,
        description="Share of the exact ten nearest that a newly built index must find: sets how much it looks at.",
    )
    evaluation_queries: Count = Field(1_000, description="Products that evaluation asks for, at most.")
    gate_max_drop: Share = Field(
        0.02,
        description="A challenger may lose this much of precision@1, @10 or MAP@R against the champion, unless chance does it.",
    )
    gate_max_category_drop: Share = Field(
        0.1,
        description="The same in any one category, in those that it was not trained on, and of products added now against the others.",
    )
    gate_max_slowdown: Annotated[float, Field(ge=1)] = Field(
        2.0,
        description="A query of a challenger may take this many times the processor time of one of the champion; in a first release, of an exact "
        "search.",
    )
    gate_max_churn: Share = Field(
        0.5,
        description="Of the places in the champion's top tens the same model may give this share to other products.",
    )
    gate_max_withdrawn: Share = Field(
        0.5,
        description="A challenger may lack this share of the champion's products, unless somebody accepted the feed that withdrew them.",
    )
    gate_min_recall: Share = Field(
        0.95, description="The index must find this share of the exact ten nearest."
    )
    max_withdrawn_share: Share = Field(
        0.5, description="A feed that would withdraw a larger share of the catalogue is held."
    )
    max_withdrawn_category_share: Share = Field(
        0.8,
        description="A feed that would withdraw a larger share of one category is held; categories of fewer than 20 products do not count.",
    )
    max_quarantined_share: Share = Field(
        0.2,
        description="A feed of which a larger share goes to quarantine is held; feeds of fewer than 20 rows are not.",
    )
    max_category_shift: Share = Field(
        0.3,
        description="A feed that would move a larger share of the catalogue from one category to others is held.",
    )
    approval: Literal["none", "ask"] = Field(
        "none",
        description="Whether a refresh that was not started with its form asks somebody before it promotes: none or ask.",
    )
    rebuild_churn: Annotated[float, Field(gt=0)] = Field(
        0.5,
        description="When products added, replaced and removed since the index was built reach this share of it, it is rebuilt.",
    )
    rebuild_recall: Share = Field(
        0.98,
        description="When the champion's index found less than this share of the exact ten nearest, it is rebuilt.",
    )
    rebuild_imbalance: Annotated[float, Field(ge=1)] = Field(
        1.5,
        description="When the lists of the champion's index make a query look at more than this many times as much as when it was built, it is rebuilt.",
    )
    retrain_days: Count = Field(90, description="A model older than this is trained anew.")
    retrain_unseen_share: Share = Field(
        0.3,
        description="When a larger share of the catalogue's images came after the training, a model is trained.",
    )
    retrain_category_products: Count = Field(
        100,
        description="When a category that the model was not trained on has this many products, a model is trained.",
    )
    retrain_drift: Annotated[float, Field(ge=0.5, le=1)] = Field(
        0.55,
        description="A model is trained when a new image is surely more likely than this to lie farther from the known images of its category "
        "than a held-out image does; 0.5 is no drift.",
    )
    retention_days: Count = Field(
        30, description="How long change feed, log and deleted files are kept; longer than any pause."
    )

    host: str = Field("127.0.0.1", description="Address that `serve` and `shop` bind.")
    port: Port = Field(8000, description="Port of the HTTP API.")
    shop_port: Port = Field(8501, description="Port of the shop window.")
    shop_url: Location | None = Field(
        None, description="Where visitors reach the shop window, when not under a name of this machine."
    )
    serving_url: Location | None = Field(
        None, description="Where the HTTP API answers, for `verify` and the shop; unset: nothing serves."
    )
    serving_workers: Count = Field(2, description="Processes that answer.")
    serving_concurrency: Count = Field(
        64, description="Requests that one of them answers at a time; more are turned away with 503."
    )
    serving_max_pixels: Annotated[int, Field(ge=1, le=89_478_485)] = Field(
        16_000_000,
        description="A larger image that a caller sends is refused; of a large JPEG only a fraction is decoded, and counts.",
    )
    serving_poll_seconds: Annotated[float, Field(gt=0)] = Field(
        2.0, description="How often serving looks for a new champion."
    )
    api_token: SecretStr | None = Field(
        None,
        min_length=SHORTEST_SECRET,
        description="Bearer token that the HTTP API asks for, when set; 8 characters or more.",
    )

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # of five sources two are wanted
        cls,
        settings_cls: type[BaseSettings],
        env_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the TOML file."""
        return env_settings, TomlConfigSettingsSource(settings_cls, toml_file=os.environ.get("RECSIM_CONFIG"))

    @property
    def inbox_dir(self) -> Path:
        """Folder in which feeds land; in an object store a `UPath`, which is used like a path."""
        if self.inbox and "://" in self.inbox:
            from upath import UPath

            return cast("Path", UPath(self.inbox))
        return Path(self.inbox or self.home / "inbox").absolute()

    @property
    def products_uri(self) -> str:
        """Location of the catalogue."""
        return self.products or self._table("products")

    @property
    def quarantine_uri(self) -> str:
        """Location of the quarantine."""
        return self.quarantine or self._table("quarantine")

    @property
    def withdrawals_uri(self) -> str:
        """Location of the withdrawals."""
        return self.withdrawals or self._table("withdrawals")

    @property
    def embeddings_uri(self) -> str:
        """Location of the embeddings table."""
        return self.embeddings or self._table("embeddings")

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry server."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home.absolute() / 'mlflow' / 'mlflow.db'}"

    @property
    def is_local(self) -> bool:
        """Whether Spark's tasks run on this machine, within the driver."""
        return is_local(self.spark_master)

    @property
    def device_slots(self) -> int:
        """Devices for tuning and training, which are the slots of `gpu_pool`: GPUs; without any, the slots of a local Spark master.

        How many processors another master has is its own affair: then as many as are asked for.
        """
        local = re.fullmatch(r"local\[(\d+)[^\]]*\]", self.spark_master)
        return self.gpus or (int(local[1]) if local else max(self.ranks, self.tune_parallel))

    @property
    def embedding_slots(self) -> int:
        """Slots of `gpu_pool` that embedding takes: all GPUs of a cluster.

        None on a local master, which gives no GPU to its tasks.
        """
        return 0 if self.is_local else self.gpus

    def _table(self, name: str) -> str:
        return str(self.home.absolute() / "tables" / name)


def is_local(master: str) -> bool:
    """Whether `master` runs tasks in the driver, which `local-cluster` does not."""
    return master == "local" or master.startswith("local[")


def load_settings() -> Settings:
    """Read the settings; a wrong or unknown one is refused by name (`ConfigurationError`)."""
    _refuse_unknown_variables()
    config = os.environ.get("RECSIM_CONFIG")
    if config and not Path(config).is_file():
        raise ConfigurationError(
            f"RECSIM_CONFIG names {config}, which is not a file. Correct the path or unset it."
        )
    try:
        return _keeping_secrets(Settings())
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None  # its text has the values
    except ValueError as error:
        raise ConfigurationError(f"The settings file {config} cannot be read: {error}") from error


def visible_gpus() -> tuple[str, ...] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process; None when it leaves all.

    They have numbers, UUIDs or MIG names. As CUDA reads it, the list ends where a name is no name of a GPU, so that `-1` hides all.
    """
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = (value or "").replace(" ", "").split(",")
    return None if value is None else tuple(takewhile(re.compile(r"\d+|GPU-.+|MIG-.+").fullmatch, names))


def environment(**changes: str) -> dict[str, str]:
    """The environment of this process with `changes`, for one that it starts."""
    return {**os.environ, **changes}


def parent_pid() -> int | None:
    """Pid of the process whose end must end this job, as given by who started it."""
    value = os.environ.get("RECSIM_PARENT_PID")
    return int(value) if value else None


def demo_data() -> Path | None:
    """Folder with Fashion-MNIST's files, if somebody named one."""
    value = os.environ.get("RECSIM_DEMO_DATA")
    return Path(value) if value else None


def _refuse_unknown_variables() -> None:
    named = {
        f"{PREFIX}{name}".upper()
        for name, field in Settings.model_fields.items()
        if field.validation_alias is None
    }
    known = named | OTHER_VARIABLES
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise ConfigurationError(
            f"Unknown setting {', '.join(unknown)}. The README's table lists the settings: correct the name or unset it."
        )


def _explain(error: ValidationError) -> str:
    faults = "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}{_given(fault)}" for fault in error.errors()
    )
    return f"Wrong setting: {faults}. Set as RECSIM_<NAME> or in the file that RECSIM_CONFIG names."


def _given(fault: ErrorDetails) -> str:
    """The value that was given, unless it is a secret or may be one under a misspelt name."""
    field = Settings.model_fields.get(str(fault["loc"][0]))
    shown = field is not None and "SecretStr" not in str(field.annotation)
    return f" (given: {redacted(repr(fault['input']))})" if shown else ""


def _keeping_secrets(settings: Settings) -> Settings:
    """Have no message show a secret, and no page, file or process list the credentials of MLflow's server."""
    given = [os.environ.get(name) for name in SECRET_VARIABLES]
    given.append(settings.api_token.get_secret_value() if settings.api_token else None)
    uri = settings.mlflow_tracking_uri or ""
    try:
        server = urlsplit(uri) if uri.startswith(("http://", "https://")) else None
    except ValueError as error:
        raise ConfigurationError(
            f"MLFLOW_TRACKING_URI is not an address: {error}. Correct it or unset it."
        ) from None
    password = server.password if server else (found[1] if (found := PASSWORD.match(uri)) else None)
    given += [password, unquote(password or "")]
    for secret in filter(None, given):
        redact_from_now_on(secret)
    if server is None or "@" not in server.netloc:
        return settings  # a database is opened by its URI alone
    os.environ[MLFLOW_USERNAME], os.environ[MLFLOW_PASSWORD] = (
        unquote(server.username or ""),
        unquote(password or ""),
    )
    os.environ["MLFLOW_TRACKING_URI"] = server._replace(netloc=server.netloc.rpartition("@")[2]).geturl()
    return settings.model_copy(update={"mlflow_tracking_uri": os.environ["MLFLOW_TRACKING_URI"]})


def count_in(folder: Path) -> None:
    """Have this process and those that it starts keep Prometheus's counts in `folder`, where `counts` finds them."""
    os.environ[COUNTED_IN] = str(folder)


def counts() -> Path:
    """The folder that `count_in` named."""
    return Path(os.environ[COUNTED_IN])
