"""The share of frames whose peak lies in the true region, against a restatement with loops, and what it must give by design."""

import math

import pytest
import torch

from taggnn.evaluation.localisation import (
    cell_shares,
    class_activation,
    hits_of_positions,
    importance_inside,
    localisation,
    middle_share,
    over_frames,
    peak_hits,
    visible,
)
from taggnn.heads.pool import PoolHead

SIZE = (40, 60)
GRID = (4, 5)


def random_case(clips=6, frames=3, maps=2, seed=0):
    draw = torch.Generator().manual_seed(seed)
    attention = torch.rand(clips, frames, maps, *GRID, generator=draw)
    centres = torch.rand(clips, frames, 2, generator=draw) * torch.tensor([SIZE[1], SIZE[0]]) * 1.6
    sides = 8 + 16 * torch.rand(clips, frames, 2, generator=draw)
    return attention, torch.cat([centres, sides], -1).double()


def naive(attention, boxes):
    """The same figures, one frame after the other."""
    clips, frames, maps = attention.shape[:3]
    counted, any_hits, hits, chance, chance_any = 0, 0, [0] * maps, [], []
    for b in range(clips):
        for t in range(frames):
            x, y, width, height = boxes[b, t].tolist()
            left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
            if right <= 0 or left >= SIZE[1] or bottom <= 0 or top >= SIZE[0]:
                continue
            counted += 1
            centres = [
                ((i + 0.5) * SIZE[0] / GRID[0], (j + 0.5) * SIZE[1] / GRID[1]) for i in range(4) for j in range(5)
            ]
            inside = [top <= row <= bottom and left <= column <= right for row, column in centres]
            found = []
            for r in range(maps):
                values = attention[b, t, r].flatten().tolist()
                found.append(inside[values.index(max(values))])
                hits[r] += found[-1]
            any_hits += any(found)
            # Every choice of a position for each map, all equally likely.
            chance.append(sum(inside) / len(inside))
            pairs = [one or other for one in inside for other in inside]
            chance_any.append(sum(pairs) / len(pairs))
    return {
        "any": any_hits / counted,
        "each": [count / counted for count in hits],
        "chance": sum(chance) / counted,
        "chance_any": sum(chance_any) / counted,
        "reachable": sum(share > 0 for share in chance) / counted,
        "frames": counted,
    }


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_of_a_count_by_hand(seed):
    attention, boxes = random_case(seed=seed)
    expected, found = naive(attention, boxes), localisation(attention, boxes, SIZE, resamples=50)
    assert found.frames == expected["frames"] < 18
    assert found.any.value == pytest.approx(expected["any"])
    assert found.each == pytest.approx(tuple(expected["each"]))
    assert found.best.value == pytest.approx(max(expected["each"]))
    assert found.index == expected["each"].index(max(expected["each"]))
    assert found.reachable == pytest.approx(expected["reachable"])
    assert found.chance == pytest.approx(expected["chance"])
    assert found.chance_any == pytest.approx(expected["chance_any"])


def centred(boxes):
    """Maps whose second is largest at the position nearest to the centre of the box, and whose first is elsewhere."""
    rows = (boxes[..., 1] * GRID[0] / SIZE[0]).long().clamp(0, GRID[0] - 1)
    columns = (boxes[..., 0] * GRID[1] / SIZE[1]).long().clamp(0, GRID[1] - 1)
    near = torch.nn.functional.one_hot(rows * GRID[1] + columns, math.prod(GRID)).float()
    return torch.stack([near.roll(math.prod(GRID) // 2, -1), near], 2).unflatten(-1, GRID)


def test_a_map_that_follows_the_region_hits_always_and_a_shifted_box_never():
    draw = torch.Generator().manual_seed(1)
    centres = torch.rand(8, 4, 2, generator=draw) * torch.tensor([SIZE[1] / 2.5, SIZE[0] / 2.5])
    boxes = torch.cat([centres, torch.full((8, 4, 2), 12.5)], -1).double()
    found = localisation(centred(boxes), boxes, SIZE, resamples=20)
    assert (found.any.value, found.best.value, found.index, found.each) == (1, 1, 1, (0, 1))
    assert (found.any.low, found.any.high, found.clips, found.frames) == (1, 1, 8, 32)
    away = boxes + torch.tensor([20.0, 14.0, 0, 0])
    shifted = localisation(centred(boxes)[:, :, 1:], away, SIZE, resamples=20)
    assert (shifted.any.value, shifted.best.value) == (0, 0)
    assert 0 < shifted.chance < 0.2
    assert shifted.chance_any == pytest.approx(shifted.chance), "of one map"


def test_the_best_map_is_one_for_all_clips():
    boxes = torch.tensor([30.0, 20.0, 60.0, 40.0]).double().expand(2, 2, 4).clone()
    boxes[..., 2:] = 13.0
    maps = torch.zeros(2, 2, 2, *GRID)
    # In the first clip the first map hits, in the second clip the other one.
    hit, miss = (1, 2), (0, 0)
    for clip, order in enumerate([(hit, miss), (miss, hit)]):
        for region, position in enumerate(order):
            maps[clip, :, region][:, position[0], position[1]] = 1
    found = localisation(maps, boxes, SIZE, resamples=20)
    assert (found.any.value, found.best.value, found.each) == (1, 0.5, (0.5, 0.5))
    # Chosen on other clips it may be the worse one.
    first = localisation(maps[:1], boxes[:1], SIZE, index=1, resamples=20)
    assert (first.index, first.best.value, first.each) == (1, 0, (1, 0))


def test_an_interval_is_that_of_clips_and_not_of_frames():
    # Half of the clips hit in all of their many frames, half in none.
    boxes = torch.tensor([30.0, 20.0, 13.0, 13.0]).double().expand(40, 30, 4)
    maps = torch.zeros(40, 30, 1, *GRID)
    maps[:20, :, :, 1, 2] = 1
    found = localisation(maps, boxes, SIZE)
    assert found.any.value == 0.5
    # Binomial: 1.96 sqrt(0.25 / 40)
    assert found.any.high - found.any.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 40), rel=0.15)


def test_frames_without_the_region_do_not_count():
    boxes = torch.tensor([[[30.0, 20.0, 13.0, 13.0], [-10.0, 20.0, 13.0, 13.0], [30.0, 47.0, 13.0, 13.0]]]).double()
    assert visible(boxes, SIZE).tolist() == [[True, False, False]]
    found = localisation(torch.rand(1, 3, 1, *GRID), boxes, SIZE, resamples=20)
    assert (found.frames, found.clips) == (1, 1)
    with pytest.raises(ValueError, match="visible in no frame"):
        localisation(torch.rand(1, 2, 1, *GRID), boxes[:, 1:], SIZE)


@pytest.mark.parametrize(
    ("maps", "boxes", "message"),
    [
        (torch.rand(1, 3, *GRID), torch.ones(1, 3, 4), "boxes"),
        (torch.rand(1, 3, 2, *GRID), torch.ones(1, 4, 4), "boxes"),
        (torch.full((1, 3, 2, *GRID), torch.nan), torch.ones(1, 3, 4), "finite"),
    ],
    ids=["no axis of maps", "other frames", "not a number"],
)
def test_what_does_not_fit_is_refused(maps, boxes, message):
    with pytest.raises(ValueError, match=message):
        localisation(maps, boxes.double(), SIZE)


def test_positions_of_an_image_axis_are_not_exchanged():
    # A box at the right edge of the second row.
    (hits,) = hits_of_positions(torch.tensor([[54.0, 15.0, 10.0, 8.0]]), GRID, SIZE)
    assert hits.nonzero().tolist() == [[1, 4]]
    maps = torch.zeros(1, 1, 1, *GRID)
    maps[..., 1, 4] = 1
    assert peak_hits(maps, torch.tensor([[[54.0, 15.0, 10.0, 8.0]]]), SIZE).item()


def test_the_middle_of_the_picture():
    boxes = torch.tensor([[[30.0, 20.0, 5.0, 5.0], [36.0, 20.0, 5.0, 5.0], [-9.0, 20.0, 5.0, 5.0]]])
    assert middle_share(boxes, SIZE) == 0.5


def test_class_activation_sums_to_the_logit_of_its_class():
    torch.manual_seed(0)
    head, tokens, classes = (
        PoolHead(6, (3, *GRID), 4).eval(),
        torch.randn(5, 3, *GRID, 6),
        torch.tensor([0, 3, 1, 1, 2]),
    )
    maps = class_activation(tokens, head.classifier.weight, classes)
    assert maps.shape == (5, 3, 1, *GRID)
    logits = head(tokens).logits - head.classifier.bias
    torch.testing.assert_close(maps.mean((1, 2, 3, 4)), logits.gather(1, classes[:, None])[:, 0])


def test_maps_of_merged_frames_are_repeated():
    maps = torch.arange(3.0)[None, :, None, None, None].expand(1, 3, 1, *GRID)
    assert over_frames(maps, 7)[0, :, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert over_frames(maps, 3).equal(maps)


def test_importance_inside_is_that_of_a_loop_over_fine_points():
    attention, boxes = random_case()
    maps, step = attention[:, :, 0] - 0.3, 0.5
    shares, chances, frames = [], [], 0
    for b in range(len(maps)):
        inside = whole = area = seen = 0.0
        for t in range(maps.shape[1]):
            x, y, width, height = boxes[b, t].tolist()
            if x - width / 2 >= SIZE[1] or x + width / 2 <= 0 or y - height / 2 >= SIZE[0] or y + height / 2 <= 0:
                continue
            seen += 1
            for i in range(GRID[0]):
                for j in range(GRID[1]):
                    points = [
                        abs(column * step + step / 2 - x) <= width / 2 and abs(row * step + step / 2 - y) <= height / 2
                        for row in range(20 * i, 20 * i + 20)
                        for column in range(24 * j, 24 * j + 24)
                    ]
                    value = max(0.0, maps[b, t, i, j].item())
                    inside += value * sum(points) / len(points)
                    whole += value
                    area += sum(points) / len(points)
        if seen:
            shares.append(inside / whole)
            chances.append(area / seen / 20)
            frames += seen
    found = importance_inside(maps, boxes, SIZE, resamples=50)
    assert (found.clips, found.frames) == (len(shares), frames)
    assert found.share.value == pytest.approx(sum(shares) / len(shares), abs=0.02)
    assert found.chance == pytest.approx(sum(chances) / len(chances), abs=0.02)
    assert found.share.low <= found.share.value <= found.share.high


def test_a_uniform_map_has_chance_inside_and_one_on_the_region_all():
    _, boxes = random_case()
    uniform = importance_inside(torch.ones(6, 3, *GRID), boxes, SIZE, resamples=2)
    assert uniform.share.value == pytest.approx(uniform.chance)
    exact = torch.tensor([[[15.0, 15.0, 12.0, 10.0]]])
    on = torch.zeros(1, 1, *GRID)
    on[0, 0, 1, 1] = 3
    assert importance_inside(on, exact, SIZE, resamples=2).share.value == pytest.approx(0.75)
    rows = cell_shares(exact, GRID, SIZE)[0, 0].tolist()
    assert rows == [[0] * 5, pytest.approx([0.25, 0.75, 0, 0, 0]), [0] * 5, [0] * 5]
    with pytest.raises(ValueError, match="no map has anything above 0"):
        importance_inside(-on, exact, SIZE)
