"""Send an image to a running recsim, print the nearest products, and draw them beside the image.

.venv/bin/python docs/examples/similar.py shirt.png --url http://127.0.0.1:8000 --out similar.png
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path
from urllib.parse import quote

import httpx
from PIL import Image, ImageDraw, ImageOps

SIDE, MARGIN, CAPTION = 160, 12, 34


def main() -> None:
    """Search, print and draw; end with one sentence if that is not possible."""
    parser = argparse.ArgumentParser(description="Find the products that look like an image.")
    parser.add_argument("image", type=Path, help="a JPEG, PNG or WebP file")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of `recsim serve`")
    parser.add_argument("-k", type=int, default=5, help="number of neighbours")
    parser.add_argument("--out", type=Path, default=Path("similar.png"), help="the drawing to write")
    options = parser.parse_args()
    token = os.environ.get("RECSIM_API_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(base_url=options.url, headers=headers, timeout=30) as api:
            image = options.image.read_bytes()
            response = api.post("/v1/similar", files={"image": image}, data={"k": str(options.k)})
            answer = checked(response).json()
            columns = [(options.image.name, "query", image)]
            for product in answer["results"]:
                name, caption = product["product_id"], f"{product['score']:.3f}  {product['category'] or ''}"
                print(f"release {answer['release']}  {name}  {caption}")
                path = f"/v1/products/{quote(name, safe='')}/image?side={SIDE}"
                columns.append((name, caption, checked(api.get(path)).content))
        draw(columns).save(options.out)
    except httpx.HTTPError as error:
        sys.exit(f"{options.url} does not answer: {error}. Start `recsim serve`, or pass --url ADDRESS.")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"The image and its neighbours are in {options.out}.")


def checked(response: httpx.Response) -> httpx.Response:
    """The response; `ValueError` with the server's sentence if it refuses."""
    if response.is_error:
        is_problem = response.headers.get("content-type", "").startswith("application/problem+json")
        sentence = response.json()["detail"] if is_problem else "This is not an address of `recsim serve`."
        raise ValueError(f"{response.status_code}: {sentence}")
    return response


def draw(columns: list[tuple[str, str, bytes]]) -> Image.Image:
    """One column for each image, with two lines below it."""
    sheet = Image.new("RGB", (len(columns) * (SIDE + MARGIN) + MARGIN, SIDE + 2 * MARGIN + CAPTION), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (title, caption, data) in enumerate(columns):
        left = MARGIN + number * (SIDE + MARGIN)
        tile = ImageOps.pad(Image.open(io.BytesIO(data)).convert("RGB"), (SIDE, SIDE), color="white")
        sheet.paste(tile, (left, MARGIN))
        pen.text((left, MARGIN + SIDE + 4), f"{title}\n{caption}", fill="black")
    return sheet


if __name__ == "__main__":
    main()
