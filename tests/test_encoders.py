"""What Ludwig's text encoders make of padding, stock and mended, against transformers alone."""

import pytest

IDS = {"bert": [[3, 5, 9, 7, 4], [3, 8, 4]], "roberta": [[0, 5, 9, 7, 2], [0, 8, 2]]}  # [CLS] ... [SEP], <s> ... </s>
PADDING = {"bert": 0, "roberta": 1}
LUDWIGS_PADDING = 2
CASES = [
    ("bert", "bert", "cls_pooled"),
    *(("auto_transformer", "roberta", pooling) for pooling in ("cls_pooled", "mean")),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders with a tiny random model of each kind."""
    import transformers

    sizes = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position_embeddings": 40, "initializer_range": 0.2}
    folders = {}
    for name, kind in (("bert", "Bert"), ("roberta", "Roberta")):
        transformers.set_seed(3)
        config = getattr(transformers, f"{kind}Config")(**sizes, pad_token_id=PADDING[name])
        folders[name] = str(tmp_path_factory.mktemp(name))
        getattr(transformers, f"{kind}Model")(config).save_pretrained(folders[name])
    return folders


def encoded(encoder_class, folder, ids, padding, width, reduce_output):
    """The vectors of the texts, padded to a width, with the mask that Ludwig's text feature hands over."""
    import torch

    schema = encoder_class.get_schema_cls()
    encoder = encoder_class(
        pretrained_model_name_or_path=folder,
        max_sequence_length=width,
        reduce_output=reduce_output,
        encoder_config=schema.from_dict({"pretrained_model_name_or_path": folder}),
    ).eval()
    padded = torch.tensor([row + [padding] * (width - len(row)) for row in ids])
    with torch.no_grad():
        return encoder(padded, mask=padded != LUDWIGS_PADDING)["encoder_output"]


def alone(folder, ids, reduce_output):
    """The same by transformers, each text by itself, so that there is nothing to pad."""
    import torch
    from transformers import AutoModel

    model, vectors = AutoModel.from_pretrained(folder).eval(), []
    for row in ids:
        with torch.no_grad():
            found = model(torch.tensor([row]))
        vectors.append(found.pooler_output[0] if reduce_output == "cls_pooled" else found.last_hidden_state[0].mean(0))
    return torch.stack(vectors)


@pytest.mark.parametrize(("kind", "model", "reduce_output"), CASES)
def test_padding_changes_nothing_where_the_stock_encoder_reads_it(kind, model, reduce_output, models, affinage):
    import torch
    from ludwig.encoders.registry import get_encoder_cls
    from ludwig.utils.strings_utils import SpecialSymbol

    assert SpecialSymbol.PADDING.value == LUDWIGS_PADDING
    ours, folder, ids = get_encoder_cls("text", kind), models[model], IDS[model]
    [stock] = ours.__bases__
    wanted = alone(folder, ids, reduce_output)
    for width in (5, 12):
        found = encoded(ours, folder, ids, PADDING[model], width, reduce_output)
        assert torch.allclose(found, wanted, atol=1e-5)
        other = encoded(stock, folder, ids, PADDING[model], width, reduce_output)
        assert (other - wanted).abs().max() > 1e-2
