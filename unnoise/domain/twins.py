"""Pictures that are there twice: the same file, or the same look after another compression, size or brightness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations, pairwise

import numpy as np

from unnoise.domain.inplace import InPlace

SIDE = 8  # frequencies in each direction that a hash looks at
APART = 4  # bits of 64 in which the hashes of twins may differ
BANDS = (0, 11, 22, 33, 44, 54, 64)  # where a hash is cut into six parts: four bits spoil four of them at most
WINDOW = 32  # neighbours in each order that a hash is compared with
SEEN = 16  # pixels a side, at least, of which twins are compared
ALIKE = 0.985  # correlation of the values of twins
CHUNK = 1024  # pictures at once

Groups = list[list[int]]  # rows that belong together, each group in order, the largest groups first


def exact(prints: np.ndarray) -> Groups:
    """Rows of equal fingerprints, (N,)."""
    order = np.argsort(prints, kind="stable")
    edges = np.flatnonzero(np.diff(prints[order])) + 1
    return _ordered(group.tolist() for group in np.split(order, edges) if len(group) > 1)


def near(x: np.ndarray | InPlace, rows: np.ndarray) -> Groups:
    """Which of some rows of pictures x, (N, C, H, W), look the same: groups linked by correlations above 0.985.

    Candidates have perceptual hashes (signs of the lowest frequencies of the cosine transform against their median) that
    differ in at most 4 of 64 bits. They are found without comparing all with all: of six parts of such hashes two are the
    same, so the hashes are sorted by each of the 15 pairs of parts in turn, and each is compared with the next 32 that share the
    pair; only a crowd of like hashes can hide one. Time N log N, memory some hundred bytes a picture.

    Reference: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1 (the hash).
    """
    hashes = np.concatenate([_hashes(_grey(x[part])) for part in _parts(rows)]) if len(rows) else np.zeros(0, np.uint64)
    pairs = rows[_candidates(hashes)]
    linked = [pair for part in _parts(pairs) for pair in part[correlation(x[part[:, 0]], x[part[:, 1]]) >= ALIKE].tolist()]
    return _ordered(_linked(linked))


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the values of pictures with those of others, (B, C, H, W) -> (B,); 0 where one has no contrast.

    Larger pictures are averaged down to 16 to 31 pixels a side first, since compression spoils what is finer.
    """
    a, b = (_centred(_averaged(values)) for values in (a, b))
    return (a * b).sum(1)


def _averaged(x: np.ndarray) -> np.ndarray:
    by = max(min(x.shape[2:]) // SEEN, 1)
    height, width = (side // by for side in x.shape[2:])
    return x[..., : height * by, : width * by].reshape(*x.shape[:2], height, by, width, by).mean((3, 5))


def _centred(x: np.ndarray) -> np.ndarray:
    """Each picture as a vector of mean 0 and length 1, or of zeros; first brought to 1, since floats may be large."""
    x = x.reshape(len(x), -1).astype(np.float32)
    x = x / np.maximum(np.abs(x).max(1, keepdims=True), 1e-30)
    x = x - x.mean(1, keepdims=True)
    return x / np.maximum(np.sqrt((x * x).sum(1, keepdims=True)), 1e-12)


def _hashes(grey: np.ndarray) -> np.ndarray:
    """64 bits of each picture (N, H, W)."""
    down, across = (_cosines(side) for side in grey.shape[1:])
    waves = (down @ grey @ across.T).reshape(len(grey), -1)[:, 1:]  # without the mean
    bits = np.zeros((len(grey), SIDE * SIDE), bool)
    if waves.shape[1]:  # not of a single pixel
        bits[:, : waves.shape[1]] = waves > np.median(waves, 1, keepdims=True)
    return np.packbits(bits, 1).view(np.uint64)[:, 0]


def _cosines(side: int) -> np.ndarray:
    """The lowest waves of the cosine transform over so many pixels, (min(8, side), side)."""
    k, place = np.arange(min(SIDE, side))[:, None], np.arange(side) + 0.5
    return np.cos(np.pi * k * place / side)


def _candidates(hashes: np.ndarray) -> np.ndarray:
    """Pairs of places whose hashes differ in few bits, (P, 2), the lesser first, each once."""
    found = [np.zeros((0, 2), np.int64)]
    masks = [(1 << high) - (1 << low) for low, high in pairwise(BANDS)]
    for one, other in combinations(masks, 2):
        key = hashes & np.uint64(one | other)
        order = np.lexsort((hashes, key))
        for step in range(1, min(WINDOW + 1, len(hashes))):
            a, b = order[:-step], order[step:]
            same = key[a] == key[b]
            if not same.any():
                break
            a, b = a[same], b[same]
            close = _differing(hashes[a], hashes[b]) <= APART
            found.append(np.sort(np.stack([a[close], b[close]], 1), 1))
    return np.unique(np.concatenate(found), axis=0)


def _differing(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many bits, by halves, quarters and bytes: numpy counts bits itself from 2.0 on only."""
    bits = a ^ b
    for shift, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        bits = (bits & np.uint64(mask)) + ((bits >> np.uint64(shift)) & np.uint64(mask))
    return (bits * np.uint64(0x0101010101010101)) >> np.uint64(56)


def _grey(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64).mean(1)


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, range(CHUNK, len(rows), CHUNK)) if len(rows) else []


def _linked(pairs: Iterable[list[int]]) -> Iterable[list[int]]:
    """The connected parts of a graph that is given by its edges."""
    root: dict[int, int] = {}

    def find(row: int) -> int:
        while root.setdefault(row, row) != row:
            root[row] = row = root[root[row]]
        return row

    for a, b in pairs:
        root[find(a)] = find(b)
    groups: dict[int, list[int]] = defaultdict(list)
    for row in root:
        groups[find(row)].append(row)
    return groups.values()


def _ordered(groups: Iterable[list[int]]) -> Groups:
    return sorted((sorted(group) for group in groups), key=lambda group: (-len(group), group))
