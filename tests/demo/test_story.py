from __future__ import annotations

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import png
from recsim_demo.story import make_story


def test_the_second_feed_has_new_replaced_repriced_and_deleted_products(fashion_mnist: FashionMnist) -> None:
    story = make_story(fashion_mnist, products=500, scale=0.01)
    first = {row["product_id"]: row for row in story.first}
    assert len(first) == 500
    assert [row["op"] for row in story.second] == ["upsert"] * 15 + ["delete"]
    new, replaced, repriced, deleted = (
        story.second[:10],
        story.second[10:12],
        story.second[12:15],
        story.second[15:],
    )
    assert not {row["product_id"] for row in new} & set(first)
    assert all(row["image"] and row["image"] != first[row["product_id"]]["image"] for row in replaced)
    assert [(row["image"], row["price"]) for row in repriced] == [(None, 5.0)] * 3
    assert {row["product_id"] for row in (*replaced, *repriced, *deleted)} <= set(first)


def test_no_image_of_a_feed_is_held_out(fashion_mnist: FashionMnist) -> None:
    story = make_story(fashion_mnist, products=500, scale=0.01)
    delivered = {row["image"] for row in (*story.first, *story.second)}
    assert len(story.held_out) == len(story.held_out_categories) == 10_000 - 12
    assert not delivered & {png(pixels) for pixels in story.held_out[:1000]}
