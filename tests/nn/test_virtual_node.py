import torch

from graphs import Chain, NoEdges
from taggnn.nn.layers import GraphLayer


def layer(**options):
    torch.manual_seed(0)
    return GraphLayer(4, Chain(), (3, 1, 2), "gcn", norm=False, activation="none", residual=False, **options)


def test_every_node_gets_the_message_of_all():
    x, plain, more = torch.randn(2, 3, 1, 2, 4), layer(), layer(virtual_node=True)
    message = more.virtual_node.layers(x.flatten(1, 3).mean(1))
    more.conv.load_state_dict(plain.conv.state_dict())
    torch.testing.assert_close(more(x), plain(x) + message[:, None, None, None])
    # Without edges there is none to it either.
    torch.testing.assert_close(more(x, NoEdges()), plain(x, NoEdges()))
