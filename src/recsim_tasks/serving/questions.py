"""What a client may ask, and how it arrives: JSON with base64, or an upload."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from recsim_tasks.catalogue.image_text import from_base64
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.filters import Filters

MOST_NEIGHBOURS = 1000
MOST_FIELDS = 20
LISTS = ("categories", "exclude")
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Wishes(BaseModel):
    """How many neighbours, and which."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=MOST_NEIGHBOURS, description="How many neighbours.")
    categories: list[str] = Field([], max_length=100, fail_fast=True, description="Only of these categories.")
    min_price: Price | None = Field(None, description="Not cheaper.")
    max_price: Price | None = Field(None, description="Not dearer.")
    in_stock: bool | None = Field(None, description="Only those in stock, or only those that are not.")
    exclude: list[str] = Field([], max_length=1000, fail_fast=True, description="Not these products.")
    distinct: bool = Field(False, description="Of nearly identical products only the nearest.")

    @property
    def filters(self) -> Filters:
        """The conditions, as the index takes them."""
        return Filters(tuple(self.categories), self.min_price, self.max_price, self.in_stock, tuple(self.exclude))


class PictureQuestion(Wishes):
    """A picture, in base64, and what its neighbours must be like."""

    image: str = Field(description="Base64 of a JPEG, PNG or WebP.")


class Asked(BaseModel):
    """A question, whichever way it came."""

    image: bytes
    wishes: Wishes


async def picture_question(request: Request) -> Asked:
    """Read the body of `POST /v1/similar`: `application/json` or `multipart/form-data` with a file `image`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            async with request.form(max_files=1, max_fields=1200) as form:
                return await _uploaded(form)
        except UnicodeError as error:
            raise HTTPException(400, "The form names a character set that cannot be read. Send it as UTF-8.") from error
    if kind == "application/json":
        question = PictureQuestion.model_validate(await read_json(request))
        return Asked(image=from_base64(question.image), wishes=Wishes(**question.model_dump(exclude={"image"})))
    raise HTTPException(415, "Send the picture as multipart/form-data with a file `image`, or as JSON with its base64 in `image`.")


async def read_json(request: Request) -> Any:
    """The body as JSON; 400 when it is none."""
    try:
        value = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is not JSON: {str(error)[:200]}.") from error
    if isinstance(value, dict) and len(value) > MOST_FIELDS:  # each unknown one would be a fault of its own
        raise InputError(f"The body has {len(value):,} fields; the API knows no more than {MOST_FIELDS} of any question.")
    return value


async def _uploaded(form: FormData) -> Asked:
    image = form.get("image")
    if not isinstance(image, UploadFile):
        raise InputError("The form has no file called `image`. Upload a JPEG, PNG or WebP under that name.")
    names = [name for name in form if name != "image"]
    wishes = {name: form.getlist(name) if name in LISTS else form.get(name) for name in names}
    return Asked(image=await image.read(), wishes=Wishes.model_validate(wishes))
