"""What a client may ask, and how it arrives: JSON with base64, or an upload."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from recsim_tasks.catalogue.images.base64 import from_base64
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release.search_options import SearchOptions

MOST_FIELDS = 20
# An image of 6 MiB in base64, as photos of phones are; larger ones are uploaded. Of 100 rows each has 80 KiB.
MOST_JSON_BYTES = 8 * 2**20
# Ten times what a table of 100 rows and 100 columns has. To parse them takes some 50 ms.
MOST_VALUES = 100_000
SMALL_BYTES = 64 * 2**10
LISTS = ("categories", "exclude")
T = TypeVar("T")


class PictureQuestion(SearchOptions):
    """A picture, in base64, and what its neighbours must be like."""

    image: str = Field(description="Base64 of a JPEG, PNG or WebP.")


class Asked(BaseModel):
    """A question, whichever way it came."""

    image: bytes
    wishes: SearchOptions


async def picture_question(request: Request) -> Asked:
    """Read the body of `POST /v1/similar`: `application/json` or `multipart/form-data` with a file `image`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            async with request.form(max_files=1, max_fields=1200) as form:
                return await _uploaded(form)
        except UnicodeError as error:
            raise HTTPException(
                400, "The form names a character set that cannot be read. Send it as UTF-8."
            ) from error
    if kind == "application/json":
        return await _apart(_described, await _body(request))
    raise HTTPException(
        415,
        "Send the picture as multipart/form-data with a file `image`, or as JSON with its base64 in `image`.",
    )


async def json_body(request: Request) -> Any:
    """The body as JSON; 400 when it is not, 413 when it is too large."""
    return await _apart(parsed, await _body(request))


def parsed(body: bytes) -> Any:
    """What `body` says in JSON; the parser holds the whole process while it works, so the work is bounded first."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise InputError(f"The body has more than {MOST_VALUES:,} values; no question needs so many.")
    try:
        value = json.loads(body.decode("utf-8-sig"))
        if re.search(rb"\\u[dD]", body):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "The body has text that is not Unicode: a lone surrogate (\\ud800 to \\udfff). Send its two halves, or none."
        ) from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is not JSON: {str(error)[:200]}.") from error
    if isinstance(value, dict) and len(value) > MOST_FIELDS:  # each unknown one would be a fault of its own
        raise InputError(
            f"The body has {len(value):,} fields; the API knows no more than {MOST_FIELDS} of any question."
        )
    return value


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_JSON_BYTES:
            raise HTTPException(
                413,
                f"The body has more than {MOST_JSON_BYTES:,} bytes of JSON. Send a smaller image, or upload it to /v1/similar as a form.",
            )
    return bytes(body)


async def _apart(work: Callable[[bytes], T], body: bytes) -> T:
    """The result of `work`; on a large body it is not done on the event loop, where all other requests wait."""
    return await run_in_threadpool(work, body) if len(body) > SMALL_BYTES else work(body)


def _described(body: bytes) -> Asked:
    question = PictureQuestion.model_validate(parsed(body))
    return Asked(
        image=from_base64(question.image), wishes=SearchOptions(**question.model_dump(exclude={"image"}))
    )


async def _uploaded(form: FormData) -> Asked:
    image = form.get("image")
    if not isinstance(image, UploadFile):
        raise InputError("The form has no file called `image`. Upload a JPEG, PNG or WebP under that name.")
    names = [name for name in form if name != "image"]
    wishes = {name: form.getlist(name) if name in LISTS else form.get(name) for name in names}
    return Asked(image=await image.read(), wishes=SearchOptions.model_validate(wishes))
