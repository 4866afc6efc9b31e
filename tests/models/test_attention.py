import pytest
import torch

from wildlam.models.attention import (
    Attention,
    KeyValueCache,
    attend,
    attend_shared,
    frame_causal_bias,
    frame_causal_blocks,
    rotary_angles,
    rotate,
)


def cos_sin(angles):
    return angles.cos(), angles.sin()


def test_rotation_keeps_norms_and_depends_on_differences_alone():
    angles = rotary_angles(torch.tensor([0, 1, 5, 6]), (2, 3), 32)
    assert angles.shape == (4 * 6, 16)
    torch.manual_seed(0)
    q, k = torch.randn(32), torch.randn(32)
    rotated_q, rotated_k = rotate(q.expand(24, 32), cos_sin(angles)), rotate(k.expand(24, 32), cos_sin(angles))
    torch.testing.assert_close(rotated_q.norm(dim=-1), q.norm().expand(24))
    scores = (rotated_q @ rotated_k.T).view(4, 6, 4, 6)
    # Frames 0 and 1 stand to each other as 5 and 6 do, at any pair of places.
    torch.testing.assert_close(scores[0, :, 1], scores[2, :, 3])
    assert not torch.allclose(scores[0, :, 1], scores[0, :, 2])


def test_every_axis_turns_its_own_third_of_a_head():
    angles = rotary_angles(torch.tensor([0, 1]), (2, 2), 32).view(2, 2, 2, 16)
    for axis in range(3):
        change = angles.select(axis, 1) - angles.select(axis, 0)
        turned = (change != 0).flatten(0, 1).all(dim=0).nonzero()[:, 0].tolist()
        assert turned == list(range(5 * axis, 5 * axis + 5))


def test_bias_lets_a_frame_see_itself_and_the_past():
    bias = frame_causal_bias(3, 2, torch.empty(0))
    expected = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(bias == 0, expected.bool())
    assert bias[0, 2] == float("-inf")


@pytest.mark.parametrize("biased", [False, True])
def test_explicit_products_equal_the_fused_kernel(biased):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 12, 16)
    bias = frame_causal_bias(3, 4, q) if biased else None
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    torch.testing.assert_close(attend(q, k, v, bias), expected)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("frames", "tokens"), [(3, 4), (4, 64)])
def test_attention_in_blocks_equals_that_with_a_bias(frames, tokens):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, frames * tokens, 16)
    blocks = frame_causal_blocks(frames, tokens, q)
    torch.testing.assert_close(attend(q, k, v, blocks), attend(q, k, v, frame_causal_bias(frames, tokens, q)))
    if tokens == 64:  # two frames a block: the upper right is not looked at
        assert blocks.sparsity() == 25


def test_shared_keys_are_attended_to_as_if_every_candidate_had_a_copy():
    torch.manual_seed(0)
    contexts, candidates = 2, 5
    q, k, v = torch.randn(3, contexts * candidates, 4, 3, 16)
    shared = (torch.randn(contexts, 4, 7, 16), torch.randn(contexts, 4, 7, 16))
    copies = [x.repeat_interleave(candidates, dim=0) for x in shared]
    expected = attend(q, torch.cat((copies[0], k), dim=2), torch.cat((copies[1], v), dim=2))
    torch.testing.assert_close(attend_shared(q, (k, v), shared), expected)


def test_cache_keeps_the_context_once_and_never_copies_it():
    torch.manual_seed(0)
    attention, cache = Attention(32, 2), KeyValueCache()
    angles = cos_sin(rotary_angles(torch.arange(2), (1, 4), 16))
    attention(torch.randn(1, 4, 32), (angles[0][:4], angles[1][:4]), None, cache)
    cache.branch(capacity=4)
    attention(torch.randn(50, 4, 32), (angles[0][4:], angles[1][4:]), None, cache)
    assert cache.shared[0].shape == (1, 2, 4, 16)
    assert cache.buffers[0].shape == (50, 2, 4, 16)
