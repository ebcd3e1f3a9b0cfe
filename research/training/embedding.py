"""The starter embedder, as mining and evaluation use it."""

import numpy as np
import torch
from tqdm import tqdm
from transformers import BertModel

from research.training.base_model import quiet_transformers
from research.training.batches import PairTokenizer
from trivet.starter.base import base_model_dir


class Embedder:
    """The base encoder with mean pooling: unit vectors of texts, cut at `max_tokens`."""

    def __init__(self, *, max_tokens: int) -> None:
        quiet_transformers()
        self._model = BertModel.from_pretrained(base_model_dir(), attn_implementation="eager").eval()
        self._tokenizer = PairTokenizer(max_tokens)

    def __call__(self, texts: list[str], *, token_budget: int = 4096) -> np.ndarray:
        """# (N, 384) float32, rows of length 1"""
        ids = self._tokenizer.encode_single(texts)
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        vectors = np.zeros((len(ids), self._model.config.hidden_size), dtype=np.float32)
        bar = tqdm(total=len(ids), unit="text", mininterval=5)
        start = 0
        while start < len(order):
            chosen = order[start : start + max(1, token_budget // len(ids[order[start]]))]
            tokens = [torch.from_numpy(ids[i]) for i in chosen]
            padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)  # (B, T)
            mask = (padded != 0).long()
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                hidden = self._model(input_ids=padded, attention_mask=mask).last_hidden_state.float()
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)  # (B, 384)
            vectors[chosen] = torch.nn.functional.normalize(mean, dim=1).numpy()
            start += len(chosen)
            bar.update(len(chosen))
        bar.close()
        return vectors
