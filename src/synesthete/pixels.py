"""Lay images out in rows or as planes: what pictures need that no chart library is loaded for."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def tile(images: Pixels, columns: int, gap: int = 0) -> Pixels:
    """Lay images out in rows, left to right, filling up with zeros.

    Args:
        images: uint8[n, H, W] or uint8[n, H, W, 3].
        columns: images in a row; fewer images make one shorter row.
        gap: pixels of zeros between neighbours.

    Returns:
        uint8[H', W'] or uint8[H', W', 3].
    """
    count, height, width = images.shape[:3]
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    cell_height, cell_width = height + gap, width + gap
    canvas = np.zeros((rows * cell_height, columns * cell_width, *images.shape[3:]), np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * cell_height, (index % columns) * cell_width
        canvas[top : top + height, left : left + width] = image
    return canvas[: canvas.shape[0] - gap, : canvas.shape[1] - gap]


def planes(images: Pixels) -> Pixels:
    """uint8[n, H, W] or uint8[n, H, W, 3], as people see them, to uint8[n, C, H, W], as nets do."""
    return images[:, None] if images.ndim == 3 else np.ascontiguousarray(np.moveaxis(images, -1, 1))


def seen(images: Pixels) -> Pixels:
    """uint8[n, C, H, W] to uint8[n, H, W], or uint8[n, H, W, 3] in colour: `planes` undone."""
    return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)
