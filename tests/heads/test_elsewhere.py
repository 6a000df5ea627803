"""Heads as plain modules in other code: any loop, Lightning, copies, files, precisions, compiler, processes."""

import copy
import io
import pickle

import pytest
import torch
import torch_geometric.nn
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import taggnn
from taggnn.heads import HEADS, TagHead
from taggnn.nn.convs import CONVS

GRID, CHANNELS, CLASSES = (2, 2, 2), 8, 3
TINY = {"encoder_layers": 1, "encoder_heads": 2, "dropout": 0.0}


def head_of(conv="gat", seed=0, **options):
    torch.manual_seed(seed)
    return TagHead(CHANNELS, GRID, CLASSES, conv=conv, **TINY | options)


def backbone():
    """Somebody's own: clips (B, 3, T, H, W) -> features (B, C, T', H', W')."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv3d(3, CHANNELS, (1, 4, 4), stride=(1, 4, 4)), nn.ReLU())


def clips_and_labels():
    """Classes that differ in the order of their two frames only."""
    torch.manual_seed(2)
    labels = torch.arange(12) % CLASSES
    clips = torch.randn(12, 3, 2, 8, 8)
    clips[:, 0, 0] += labels[:, None, None] - 1.0
    return clips, labels


def tokens(clips=3):
    return torch.randn(clips, *GRID, CHANNELS, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", HEADS)
def test_a_bare_loop_with_a_backbone_of_ones_own(name):
    features = backbone()
    torch.manual_seed(0)
    head = taggnn.heads.build(name, CHANNELS, GRID, CLASSES)
    rate = {"pool": 1e-2}.get(name, 1e-3)
    optimiser = torch.optim.AdamW([*features.parameters(), *head.parameters()], lr=rate)
    clips, labels = clips_and_labels()
    losses = []
    for _ in range(12):
        logits, _ = head.eval()(features(clips).permute(0, 2, 3, 4, 1))
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


def test_attached_to_a_module_of_ones_own_and_trained_in_a_bare_loop():
    model = taggnn.attach(backbone(), "tag", classes=CLASSES, clip=(2, 8, 8), **TINY)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    clips, labels = clips_and_labels()
    before = F.cross_entropy(model(clips).logits, labels)
    for _ in range(12):
        optimiser.zero_grad()
        F.cross_entropy(model(clips).logits, labels).backward()
        optimiser.step()
    assert F.cross_entropy(model(clips).logits, labels) < 0.9 * before


def test_in_a_lightning_module(tmp_path):
    """The head in a LightningModule that does not use anything else of taggnn."""
    pl = pytest.importorskip("lightning.pytorch", reason="needs Lightning, which taggnn does not")

    class Theirs(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = backbone(), head_of()

        def training_step(self, batch, _):
            clips, labels = batch
            return F.cross_entropy(self.head(self.backbone(clips).permute(0, 2, 3, 4, 1)).logits, labels)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    task = Theirs()
    before = copy.deepcopy(task.head.state_dict())
    trainer = pl.Trainer(
        default_root_dir=tmp_path, max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(task, DataLoader(TensorDataset(*clips_and_labels()), batch_size=4))
    trainer.save_checkpoint(tmp_path / "theirs.ckpt")
    after = task.head.state_dict()
    assert all(not torch.equal(before[key], after[key]) for key in before)
    again = Theirs.load_from_checkpoint(tmp_path / "theirs.ckpt", weights_only=True)
    assert torch.equal(again.head.eval()(tokens()).logits, task.head.eval()(tokens()).logits)


@pytest.mark.parametrize("conv", ["ResGatedGraphConv", "GENConv", "LEConv", "SuperGATConv"])
def test_any_convolution_of_pyg_can_be_used(conv):
    head = head_of(f"torch_geometric.nn.{conv}")
    assert isinstance(head.propagation[0].conv, getattr(torch_geometric.nn, conv))
    head(tokens()).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in head.propagation.parameters())


CONVOLUTIONS = [*CONVS, "torch_geometric.nn.ResGatedGraphConv"]


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_copies_and_files_give_the_same_output_and_share_no_weight(conv):
    head, x = head_of(conv).eval(), tokens()
    expected = head(x).logits
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    fresh = head_of(conv, seed=7).eval()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    copies = {"deepcopy": copy.deepcopy(head), "pickle": pickle.loads(pickle.dumps(head)), "state dict": fresh}
    for name, other in copies.items():
        assert torch.equal(other(x).logits, expected), name
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1.0)
        assert torch.equal(head(x).logits, expected), f"{name} shares weights"


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_precisions_and_back(conv):
    head, x = head_of(conv).eval(), tokens()
    expected = head(x).logits
    scale = expected.abs().max()
    for dtype, tolerance in ((torch.float64, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)):
        answer, extras = copy.deepcopy(head).to(dtype)(x.to(dtype))
        assert {answer.dtype, *(extra.dtype for extra in extras.values())} == {dtype}
        assert (answer.float() - expected).abs().max() < tolerance * scale, dtype
    # The graph is computed again: only the weights have been rounded.
    twice = copy.deepcopy(head).half().float()
    rounded = copy.deepcopy(head)
    rounded.load_state_dict({name: value.half().float() for name, value in head.state_dict().items()})
    assert torch.equal(twice(x).logits, rounded(x).logits)


@pytest.mark.parametrize("conv", [*CONVS, "torch_geometric.nn.LEConv"])
def test_built_on_the_meta_device_and_filled_later(conv):
    head, x = head_of(conv).eval(), tokens()
    with torch.device("meta"):
        empty = head_of(conv).eval()
    filled = empty.to_empty(device="cpu")
    filled.load_state_dict(head.state_dict())
    assert torch.equal(filled(x).logits, head(x).logits)


@pytest.mark.parametrize("conv", ["gatv2", "gcn", "torch_geometric.nn.ResGatedGraphConv"])
def test_a_whole_head_compiles_in_one_graph_with_the_same_gradients(conv):
    head, x = head_of(conv), tokens()
    compiled = torch.compile(copy.deepcopy(head), fullgraph=True, backend="aot_eager")
    for each in (head, compiled):
        each(x).logits.square().sum().backward()
    for (name, one), other in zip(head.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(
            other.grad, one.grad, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


SHARED = ("gatv2", "gcn")


def gradients_of_a_share():
    """The gradients of each convolution in one of two processes after a step on its half of the clips."""
    found = {}
    for conv in SHARED:
        torch.manual_seed(5)
        head = DistributedDataParallel(head_of(conv))
        rank, x = torch.distributed.get_rank(), tokens(4)
        head(x[2 * rank : 2 * rank + 2]).logits.square().mean().backward()
        found[conv] = {name: parameter.grad.tolist() for name, parameter in head.module.named_parameters()}
    return found


@pytest.fixture(scope="module")
def shares(together):
    return together(2, gradients_of_a_share)


@pytest.mark.parametrize("conv", SHARED)
def test_two_processes_have_the_gradients_of_one(conv, shares):
    head = head_of(conv)
    head(tokens(4)).logits.square().mean().backward()
    first, second = (share[conv] for share in shares)
    assert first == second
    for name, parameter in head.named_parameters():
        torch.testing.assert_close(torch.tensor(first[name]), parameter.grad, rtol=1e-4, atol=1e-6)


def test_building_and_calling_touches_no_global_state():
    def state():
        return (
            torch.get_rng_state().tolist(), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
            torch.backends.mha.get_fastpath_enabled(), torch.are_deterministic_algorithms_enabled(),
        )  # fmt: skip

    head = head_of().eval()
    before = state()
    one = head(tokens()).logits
    assert state() == before
    head(tokens(1))
    assert torch.equal(head(tokens()).logits, one)
    # Two heads of one topology and grid share nothing that training or a change of precision could alter.
    neighbour = head_of(seed=4).eval()
    expected = neighbour(tokens()).logits
    head.double()(tokens().double())
    assert torch.equal(neighbour(tokens()).logits, expected)
