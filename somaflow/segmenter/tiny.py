"""The embedded default: a U-Net of about 31,000 parameters with Cellpose's inputs and outputs."""

from functools import cache
from typing import TYPE_CHECKING

from somaflow.segmenter.upstream import import_cellpose

if TYPE_CHECKING:
    import torch


def build_tiny_net() -> "torch.nn.Module":
    """A new `tiny` net with random weights, on the CPU in float32."""
    return _define_tiny_net()()


@cache
def _define_tiny_net() -> type:
    _, vit = import_cellpose()
    import torch
    from torch import nn
    from torch.nn.functional import pad, relu

    class TinyNet(vit.BaseModel):  # type: ignore[name-defined]
        """A U-Net of about 31,000 parameters with Cellpose's inputs and outputs.

        The stem halves the image, which makes it fast and lets each pixel see about 100 px.
        No normalisation layers: it can be fine-tuned on batches of any size.
        """

        def __init__(self) -> None:
            super().__init__()
            # Numbers are strides: level_4 works on a quarter of the image's side.
            self.stem_2 = nn.Conv2d(3, 8, 5, stride=2, padding=2)
            self.level_2 = nn.Conv2d(8, 8, 3, padding=1)
            self.down_4 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
            self.level_4 = nn.Conv2d(16, 16, 3, padding=1)
            self.down_8 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
            self.level_8 = nn.Conv2d(32, 32, 3, padding=2, dilation=2)
            self.merge_4 = nn.Conv2d(32 + 16, 16, 3, padding=1)
            self.refine_4 = nn.Conv2d(16, 16, 3, padding=1)
            self.merge_2 = nn.Conv2d(16 + 8, 8, 3, padding=1)
            self.refine_2 = nn.Conv2d(8, 8, 3, padding=1)
            self.head = nn.Conv2d(8, 3, 3, padding=1)
            self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")
            # BaseModel.load_model takes files with a W2 only (its mark of version 4).
            self.W2 = nn.Parameter(torch.zeros(1), requires_grad=False)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """Flows and logits (B, 3, Y, X), empty styles (B, 256); images (B, C<=3, 8Y, 8X)."""
            images = pad(images, (0, 0, 0, 0, 0, 3 - images.shape[1]))
            fine = self._refine(self.stem_2(images), self.level_2)
            middle = self._refine(self.down_4(fine), self.level_4)
            coarse = self._refine(self.down_8(middle), self.level_8)
            middle = self.merge_4(torch.cat([self.upsample(coarse), middle], dim=1))
            middle = self._refine(middle, self.refine_4)
            fine = self.merge_2(torch.cat([self.upsample(middle), fine], dim=1))
            fine = self._refine(fine, self.refine_2)
            return self.upsample(self.head(fine)), images.new_zeros((len(images), 256))

        def _refine(self, features: torch.Tensor, layer: nn.Module) -> torch.Tensor:
            features = relu(features)
            return relu(features + layer(features))

    return TinyNet
