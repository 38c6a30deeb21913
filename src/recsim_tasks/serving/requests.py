"""Read requests: an image as JSON with base64 or as an upload, and search options."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from recsim_tasks.catalogue.images.base64 import from_base64
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release.search_options import SearchOptions

MAX_FIELDS = 20
# Base64 of a photo of 6 MiB; larger images can be uploaded. A table of 100 rows has 80 KiB for each.
MAX_JSON_BYTES = 8 * 2**20
# Ten times as many as in a table of 100 rows and 100 columns. Parsing them takes some 50 ms.
MAX_JSON_VALUES = 100_000
# Larger bodies are parsed in a thread.
MAX_INLINE_BYTES = 64 * 2**10
LISTS = ("categories", "exclude")
T = TypeVar("T")


class SimilarRequest(SearchOptions):
    """An image in base64, and search options."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(description="Base64 of a JPEG, PNG or WebP image.")


class ImageQuery(BaseModel):
    """An image and search options, however they were sent."""

    image: bytes
    options: SearchOptions


async def image_query(request: Request) -> ImageQuery:
    """Read the body of `POST /v1/similar`: `application/json` or `multipart/form-data`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            async with request.form(max_files=1, max_fields=1200) as form:
                return await _from_form(form)
        except UnicodeError as error:
            raise HTTPException(
                400, "The form names a character set that cannot be read. Send it as UTF-8."
            ) from error
    if kind == "application/json":
        return await _in_thread_if_large(_from_json, await _body(request))
    raise HTTPException(
        415,
        "Send the image as multipart/form-data with a file `image`, or as JSON with its base64 in `image`.",
    )


async def json_body(request: Request) -> Any:
    """Read the body as JSON; 400 when it is not JSON, 413 when it is too large."""
    return await _in_thread_if_large(parse_json, await _body(request))


def parse_json(body: bytes) -> Any:
    """Parse JSON.

    The parser keeps the interpreter's lock meanwhile, so the number of values is limited first.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise InputError(f"The body has more than {MAX_JSON_VALUES:,} values; no request needs so many.")
    try:
        value = json.loads(body.decode("utf-8-sig"))
        if re.search(rb"\\u[dD]", body):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "The body has text that is not Unicode: a lone surrogate (\\ud800 to \\udfff). "
            "Send both halves or none."
        ) from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is not JSON: {str(error)[:200]}.") from error
    # Each unknown field would become an error of its own.
    if isinstance(value, dict) and len(value) > MAX_FIELDS:
        raise InputError(f"The body has {len(value):,} fields; no request has more than {MAX_FIELDS}.")
    return value


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_JSON_BYTES:
            raise HTTPException(
                413,
                f"The body has more than {MAX_JSON_BYTES:,} bytes of JSON. "
                "Send a smaller image, or upload it to /v1/similar as a form.",
            )
    return bytes(body)


async def _in_thread_if_large(work: Callable[[bytes], T], body: bytes) -> T:
    """Call `work`; for a large body in a thread, so that the event loop serves other requests meanwhile."""
    return await run_in_threadpool(work, body) if len(body) > MAX_INLINE_BYTES else work(body)


def _from_json(body: bytes) -> ImageQuery:
    request = SimilarRequest.model_validate(parse_json(body))
    options = SearchOptions(**request.model_dump(exclude={"image"}))
    return ImageQuery(image=from_base64(request.image), options=options)


async def _from_form(form: FormData) -> ImageQuery:
    image = form.get("image")
    if not isinstance(image, UploadFile):
        raise InputError("The form has no file named `image`. Upload a JPEG, PNG or WebP under that name.")
    names = [name for name in form if name != "image"]
    fields = {name: form.getlist(name) if name in LISTS else form.get(name) for name in names}
    return ImageQuery(image=await image.read(), options=SearchOptions.model_validate(fields))
