"""Modules of Cellpose-SAM for inference; imports torch, so it is imported where it is used.

See `fused` for what they are for.
"""

from typing import Any

import torch
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import nn
from torch.nn import functional


class FusedAttention(nn.Module):
    """`segment_anything`'s attention over all tokens of a crop; shares the weights of one."""

    places: torch.Tensor
    distances: torch.Tensor

    def __init__(self, attention: Any, height: int, width: int) -> None:
        """For crops of so many rows and columns of tokens."""
        super().__init__()
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.qkv, self.proj = attention.qkv, attention.proj
        with torch.no_grad():
            # (2Y + 2X, C): a row for each distance of a key from its query along Y, from the
            # farthest before it to the farthest behind it, and one of zeros to keep numbers
            # aligned; then the same along X. Divided by the scale that the product is multiplied
            # with: a power of 2, nothing is lost.
            along = (height, attention.rel_pos_h), (width, attention.rel_pos_w)
            distances = torch.cat(
                [
                    functional.pad(_by_distance(get_rel_pos(n, n, biases)), (0, 0, 0, 1))
                    for n, biases in along
                ]
            )
            distances = distances / self.scale
        self.register_buffer("distances", distances.detach(), persistent=False)
        rows = torch.eye(height).repeat_interleave(width, dim=0)
        places = torch.cat([rows, torch.eye(width).repeat(height, 1)], dim=1)
        # (Y X, Y + X): a 1 in the place of each key's row, another in that of its column.
        self.register_buffer("places", places.to(distances), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, Y, X, C) of tokens to the same."""
        batch, height, width, features = tokens.shape
        together = self.qkv(tokens).view(batch, height * width, 3, self.num_heads, -1)
        # 3 of (B, Y X, heads, C / heads)
        query, key, value = together.unbind(2)
        on_grid = query.unflatten(1, (height, width))
        query = torch.cat([on_grid, *self._biases(query, height, width)], dim=-1).flatten(1, 2)
        places = self.places[:, None].expand(batch, -1, self.num_heads, -1)
        key = torch.cat([key, places], dim=-1)
        # In memory a token's heads stay side by side, as they come and as `proj` wants them.
        seen = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), scale=self.scale
        )
        return self.proj(seen.transpose(1, 2).reshape(batch, height, width, features))

    def _biases(
        self, query: torch.Tensor, height: int, width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, Y, X, heads, Y) and (B, Y, X, heads, X): towards each row and towards each column.

        A query's products with all distances lie in a line, and those with the rows it sees are a
        part of that line, which begins one further ahead for each row the query is further down.
        """
        batch, _, heads, _ = query.shape
        by_head = query.flatten(0, 1).transpose(0, 1)
        table = self.distances.t().expand(heads, -1, -1)
        products = torch.bmm(by_head, table).view(heads, batch, height, width, -1)
        of_head, of_crop, of_row, of_column, one = products.stride()
        to_rows = products.as_strided(
            (batch, height, width, heads, height),
            (of_crop, of_row - one, of_column, of_head, one),
            height - 1,
        )
        to_columns = products.as_strided(
            (batch, height, width, heads, width),
            (of_crop, of_row, of_column - one, of_head, one),
            2 * height + width - 1,
        )
        return to_rows, to_columns


def _by_distance(pairs: torch.Tensor) -> torch.Tensor:
    """(2N - 1, C) by distance of key from query, 1 - N first; of (N, N, C), by query and key."""
    return torch.cat([pairs[1:, 0].flip(0), pairs[0]])


class FusedBlock(nn.Module):
    """A block of the encoder; shares the weights of one."""

    def __init__(self, block: Any, height: int, width: int) -> None:
        """For crops of so many rows and columns of tokens."""
        super().__init__()
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.attn = FusedAttention(block.attn, height, width)

    def forward(
        self, tokens: torch.Tensor, change: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B, Y, X, C) and what is still to be added to them, to the same.

        Added at the start of the next block, the compiler joins it with that one's norm.
        """
        tokens = tokens + change
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens, self.mlp(self.norm2(tokens))


class Entry(nn.Module):
    """From images to tokens: the convolution whose stride is its size."""

    def __init__(self, encoder: Any, patch_px: int) -> None:
        """Of the encoder, for patches of that side."""
        super().__init__()
        self.patches, self.patch_px = encoder.patch_embed.proj, patch_px
        self.pos_embed = encoder.pos_embed

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, 8Y, 8X) to (B, Y, X, features)."""
        cut = images.unflatten(3, (-1, self.patch_px)).unflatten(2, (-1, self.patch_px))
        # (B, C, Y, 8, X, 8) to (B, Y, X, C 8 8)
        cut = cut.permute(0, 2, 4, 1, 3, 5).flatten(3)
        tokens = functional.linear(cut, self.patches.weight.flatten(1), self.patches.bias)
        return tokens if self.pos_embed is None else tokens + self.pos_embed


class Exit(nn.Module):
    """From tokens to flows and logits: the neck of the encoder and Cellpose's readout."""

    def __init__(self, net: Any) -> None:
        """Of the net."""
        super().__init__()
        self.narrow, self.norm, self.smooth, self.last_norm = net.encoder.neck
        self.out, self.W2, self.patch_px, self.n_out = net.out, net.W2, net.ps, net.nout
        identity = torch.eye(len(net.W2)).reshape(net.W2.shape)
        self.moves_only = torch.equal(net.W2.detach().float().cpu(), identity)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, Y, X, features) to (B, 3, 8Y, 8X)."""
        tokens = functional.linear(tokens, self.narrow.weight.flatten(1))
        tokens = _normalise(tokens, self.norm)
        # Channels are last in memory, as the fast kernels of convolutions want them.
        smoothed = functional.conv2d(tokens.permute(0, 3, 1, 2), self.smooth.weight, padding=1)
        tokens = _normalise(smoothed.permute(0, 2, 3, 1), self.last_norm)
        said = functional.linear(tokens, self.out.weight.flatten(1), self.out.bias)
        if not self.moves_only:
            said = said.permute(0, 3, 1, 2)
            return functional.conv_transpose2d(said, self.W2, stride=self.patch_px)
        # (B, Y, X, C 8 8) to (B, C, 8Y, 8X)
        said = said.unflatten(3, (self.n_out, self.patch_px, self.patch_px))
        return said.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def _normalise(tokens: torch.Tensor, norm: Any) -> torch.Tensor:
    """`segment_anything`'s LayerNorm2d, with channels last."""
    n_features = (len(norm.weight),)
    return functional.layer_norm(tokens, n_features, norm.weight, norm.bias, norm.eps)


class FusedNet(nn.Module):
    """Cellpose-SAM for inference."""

    def __init__(self, net: Any) -> None:
        """Shares the weights of the net."""
        super().__init__()
        self.dtype = net.dtype
        height, width = net.encoder.pos_embed.shape[1:3]
        self.entry, self.exit = Entry(net.encoder, net.ps), Exit(net)
        self.blocks = nn.ModuleList(
            FusedBlock(block, height, width) for block in net.encoder.blocks
        )
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.exit.W2.device

    def compile_parts(self) -> None:
        """Has torch compile what is called, at the first call with each size of batch."""
        for module in (self.entry, *self.blocks, self.exit):
            module.compile(dynamic=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Flows and logits (B, 3, 8Y, 8X) of images (B, 3, 8Y, 8X)."""
        tokens = self.entry(images)
        change = torch.zeros_like(tokens)
        for block in self.blocks:
            tokens, change = block(tokens, change)
        return self.exit(tokens + change), None
