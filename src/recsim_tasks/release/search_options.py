"""How many neighbours a caller wants, and which: the same rules for the HTTP API, MLflow's servers and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.filters import Filters

MOST_NEIGHBOURS = 1000
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def unicode_text(text: str) -> str:
    """Return `text`; raise `ValueError` when it is not Unicode, which no product, category or file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the text is not Unicode: send it as UTF-8, without lone surrogates") from error
    return text


Text = Annotated[str, AfterValidator(unicode_text)]


class Wishes(BaseModel):
    """Say how many neighbours a caller wants, and which."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=MOST_NEIGHBOURS, description="How many neighbours.")
    categories: list[Text] = Field(
        [], max_length=100, fail_fast=True, description="Only of these categories."
    )
    min_price: Price | None = Field(None, description="Not cheaper.")
    max_price: Price | None = Field(None, description="Not dearer.")
    in_stock: bool | None = Field(None, description="Only those in stock, or only those that are not.")
    exclude: list[Text] = Field([], max_length=1000, fail_fast=True, description="Not these products.")
    distinct: bool = Field(
        False, description="Of products whose images are copies of each other only the nearest."
    )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Check the wishes in `given`; raise `InputError`, with a sentence for each fault, when they are not valid."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise InputError("; ".join(faults) + ".") from error

    @property
    def filters(self) -> Filters:
        """Return the conditions as the index takes them."""
        return Filters(
            tuple(self.categories), self.min_price, self.max_price, self.in_stock, tuple(self.exclude)
        )
