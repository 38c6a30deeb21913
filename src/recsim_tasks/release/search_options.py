"""The options of a search, validated alike for the HTTP API, MLflow's servers and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.filters import Filters

MAX_NEIGHBOURS = 1000
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def unicode_text(text: str) -> str:
    """Return `text`; raise `ValueError` if it contains lone surrogates, which no id, category or file can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the text is not valid Unicode; send UTF-8 without lone surrogates") from error
    return text


Text = Annotated[str, AfterValidator(unicode_text)]


class SearchOptions(BaseModel):
    """How many neighbours a search returns, and which products may be among them."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=MAX_NEIGHBOURS, description="Number of neighbours to return.")
    categories: list[Text] = Field(
        [], max_length=100, fail_fast=True, description="Return only products of these categories."
    )
    min_price: Price | None = Field(None, description="Lowest price.")
    max_price: Price | None = Field(None, description="Highest price.")
    in_stock: bool | None = Field(
        None, description="true: only products in stock; false: only products out of stock."
    )
    exclude: list[Text] = Field(
        [], max_length=1000, fail_fast=True, description="Ids of products to leave out."
    )
    distinct: bool = Field(
        False, description="Of products with copies of the same image, return only the nearest."
    )

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """Validate `given`; raise `InputError` with one sentence for each invalid option."""
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
