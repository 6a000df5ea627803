"""Tiny text encoders in folders, with the names and shapes of published ones and random weights."""

import json

import pytest
import safetensors.torch
import torch

# fmt: off
WORDS = [
    "a", "video", "of", "person", "doing", "the", "action", "clip", "in", "which", "someone", "performs",
    "leap", "jump", "turn", "salto", "with", "0.5", "1", "how", "to", "do",
]
# fmt: on


def _tokenizer(specials, begin, end, prefix=True):
    tokenizers = pytest.importorskip("tokenizers")
    # The ends last, as CLIP has them.
    tokens = [*specials[:-2], *dict.fromkeys(WORDS), *specials[-2:]] if prefix else [*specials, *dict.fromkeys(WORDS)]
    vocabulary = {word: number for number, word in enumerate(tokens)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, specials[0]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(specials)
    if prefix:
        made.post_processor = tokenizers.processors.TemplateProcessing(
            f"{begin} $A {end}", special_tokens=[(one, vocabulary[one]) for one in (begin, end)]
        )
    return made, vocabulary


@pytest.fixture(scope="session")
def static_folder(tmp_path_factory):
    """WordLlama's two files in its package's folders: 16-bit vectors, and a tokenizer."""
    folder = tmp_path_factory.mktemp("static")
    (folder / "tokenizers").mkdir()
    (folder / "weights").mkdir()
    made, vocabulary = _tokenizer(["<unk>"], "", "", prefix=False)
    made.save(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    table = torch.randn(len(vocabulary), 6, generator=torch.Generator().manual_seed(0)).half()
    safetensors.torch.save_file({"embedding.weight": table}, folder / "weights" / "l2_supercat_256.safetensors")
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """A whole CLIP of a few thousand weights, as its publisher's folders hold one."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    specials = ["<unk>", "<|startoftext|>", "<|endoftext|>"]
    made, vocabulary = _tokenizer(specials, *specials[1:])
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    begin, end = (vocabulary[one] for one in specials[1:])
    ends = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": end}
    config = transformers.CLIPConfig(
        text_config={**sizes, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": 12},
        vision_config={**sizes, "image_size": 8, "patch_size": 4},
        projection_dim=10,
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token=specials[1], eos_token=specials[2], pad_token=specials[2]
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory):
    """A sentence encoder of BERT's kind in the files of sentence-transformers."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    specials = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
    made, vocabulary = _tokenizer(specials, *specials[2:])
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, pad_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8, "do_lower_case": False}))
    parts = ["Transformer", "Pooling", "Normalize"]
    modules = [{"idx": n, "type": f"sentence_transformers.models.{part}"} for n, part in enumerate(parts)]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder
