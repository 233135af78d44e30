"""A net with the work of the full Cellpose-SAM and the cells of `tiny`.

Random weights run as fast as real ones, but find no cells, and then what comes after the net costs
nothing. So this one runs the full encoder with random weights, and adds a little of what it says to
what `tiny` says: cells as usual, and any difference in the encoder shows in them.
"""

from copy import copy
from typing import Any

from somaflow.segmenter import make_fast

_SHARE = 0.02
"""Of the encoder's standard deviation, against flows of length 5."""


def build_standin(device: str, seed: int = 0) -> Any:
    """The net on the device, in bfloat16 as Cellpose runs it on CUDA; `tiny` stays in float32."""
    import torch

    from somaflow.segmenter import load_net
    from somaflow.segmenter.upstream import import_cellpose

    _, vit = import_cellpose()
    tiny = load_net("tiny", "cpu")[0].to(device)

    class StandIn(vit.BaseModel):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(seed)
            with torch.device(device):
                self.full = vit.CPSAM()
            for block in self.full.encoder.blocks:
                torch.nn.init.normal_(block.attn.rel_pos_h, std=0.02)
                torch.nn.init.normal_(block.attn.rel_pos_w, std=0.02)
            self.backbone, self.scale = "sam_vitl", 1.0
            # Not a submodule: it stays in float32.
            self.__dict__["tiny"] = tiny.eval()

        def fused(self) -> Any:
            """The same with the encoder that `make_fast` gives."""
            other = copy(self)
            other._modules = {**self._modules, "full": make_fast(self.full)[0]}
            return other

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            said, styles = self.tiny(images.float())
            return said + self.scale * self.full(images)[0].float(), styles

    net = StandIn().to(device).eval()
    # The encoder is told as well: it is also run by itself.
    net.dtype = net.full.dtype = torch.bfloat16
    with torch.inference_mode():
        noise = torch.rand(2, 3, 256, 256, device=device, dtype=net.dtype)
        net.scale = _SHARE / float(net.full(noise)[0].float().std())
    return net
