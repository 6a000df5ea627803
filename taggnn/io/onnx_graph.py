"""What an ONNX file may hold to be run: one plain graph of known operators, its weights in the file itself."""

from collections.abc import Iterator
from typing import Any

_ELEMENTWISE = (
    "Abs Add And BitShift Cast CastLike Ceil Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid "
    "HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or Pow PRelu Reciprocal "
    "Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Swish Tan Tanh Where Xor"
)
_ALONG_AXES = (
    "ArgMax ArgMin CumSum LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare Softmax TopK"
)
_SHAPES = (
    "Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Pad Range Reshape Resize "
    "ScatterElements ScatterND Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze"
)
_LAYERS = (
    "Attention AveragePool BatchNormalization Conv ConvTranspose Dropout Einsum Gemm GlobalAveragePool GlobalMaxPool "
    "GroupNormalization InstanceNormalization LayerNormalization MatMul MaxPool RMSNormalization"
)
# Operators of tensors alone: none has a graph of its own, draws random numbers, or handles text, pictures or sequences.
OPERATORS = frozenset(" ".join((_ELEMENTWISE, _ALONG_AXES, _SHAPES, _LAYERS)).split())


def check(content: bytes, source: str) -> None:
    """Refuses an ONNX file that holds more than ``OPERATORS`` and their weights.

    What is left can neither run other code nor open files; it can still need much time and memory.

    Args:
        content: the file.
        source: its path, for messages.

    Raises:
        ValueError: no ONNX file, another operator, a graph inside an operator, a function, or weights in another file.
        ImportError: the package onnx is not there.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ImportError(f"{source}: onnx is not installed: pip install 'taggnn[export]' ({error})") from error
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ValueError(f"{source}: damaged, or not an ONNX file ({error})") from error
    more = next(_unexpected(model), None)
    if more is not None:
        shown = "".join(letter if letter.isprintable() else "?" for letter in more[:120])
        raise ValueError(f"{source}: not opened, as it holds more than known operators and their weights ({shown})")


def _unexpected(model: Any) -> Iterator[str]:
    if model.functions or model.training_info:
        yield "functions or a training graph"
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            yield f"operator {node.domain or 'ai.onnx'}.{node.op_type}"
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                yield f"a graph in {node.op_type}"
            yield from _elsewhere([attribute.t, *attribute.tensors, attribute.sparse_tensor.values])
    sparse = [part for one in model.graph.sparse_initializer for part in (one.values, one.indices)]
    yield from _elsewhere([*model.graph.initializer, *sparse])


def _elsewhere(tensors: Any) -> Iterator[str]:
    for tensor in tensors:
        if tensor.external_data or tensor.data_location:
            yield f"weights {tensor.name} in another file"
