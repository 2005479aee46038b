"""Trainers that learn from preferences: DPO, KTO and ORPO, under the names and keys that Ludwig has for them.

Fault: Ludwig registers trainers of these names that never compute these losses.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from tqdm import tqdm

from affinage.console import progress_bar_options
from affinage.generation import evaluation_mode
from affinage.ludwig_ext import preference_losses as losses
from affinage.ludwig_ext.batches import IGNORED, Batch, Row, Rows, collate
from affinage.ludwig_ext.layout import cut_by_length
from affinage.ludwig_ext.loss import answer_token_nll
from affinage.ludwig_ext.preference_rows import Opinion, Pair, answers_of, build
from affinage.ludwig_ext.trainer import AnswerTrainer

Preference = Pair | Opinion
Found = dict[str, torch.Tensor]  # what is logged beside the loss, by name: (rows,)


@dataclass(frozen=True)
class PreferenceBatch:
    """Rows, and their learnt sequences as one batch: the first of every row, then the second of every row."""

    rows: Sequence[Preference]
    batch: Batch

    @property
    def weight(self) -> int:
        """What the mean loss is taken over: rows."""
        return len(self.rows)

    @property
    def tokens(self) -> int:
        return self.batch.tokens


class PreferenceTrainer(AnswerTrainer):
    """What the three have in common: rows with references, and rewards that are logged beside the loss.

    The reference is the model before the first step (for a new adapter the base with the adapter off), so its log p
    are computed once, then, and kept with the rows: no second model, and every weight may be trained. The reward of an
    answer is beta times its log ratio to the reference.
    """

    metrics = ("loss",)
    loss_name = "loss"
    kind = ""
    has_reference = True
    shares_rows = False  # each finds log p of all of them beforehand

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._found: dict[str, list[float]] = {}

    def build(self, dataset: Any) -> Rows:
        columns = [next(iter(f.values())).proc_column for f in (self.model.input_features, self.model.output_features)]
        chosen, rejected = answers_of(dataset, columns[1])
        prompts, limit = dataset.dataset[columns[0]], self.model.global_max_sequence_length
        return build(self.kind, prompts, chosen, rejected, self.model.special, limit)

    def before_first_step(self) -> None:
        """Keeps with the rows what the untrained model makes of them."""
        if self.has_reference:
            self.rows = self._with_references(self.rows)
            if self.evaluations.validation is not None:
                self.evaluations.validation = self._with_references(self.evaluations.validation)

    def _with_references(self, rows: Rows) -> Rows:
        preferences = list(_preferences(rows.rows))
        sequences = [sequence for row in preferences for sequence in row.referenced]
        logps = iter(self.distributed.spread(lambda share: self.logps(share, "reference"), sequences))
        known: list[Row] = [replace(row, references=(next(logps), next(logps))) for row in preferences]
        return replace(rows, rows=known)

    def logps(self, sequences: Sequence[Row], progress: str = "") -> list[float]:
        """Summed log p (nats) of the answer of each sequence under the model as it is, without dropout."""
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i].ids))
        found, size = [0.0] * len(sequences), self.eval_batch_size
        bar = tqdm(total=len(order), desc=progress, unit="answer", disable=not progress, **progress_bar_options())
        with evaluation_mode(self.dist_model), torch.no_grad(), bar:
            for start in range(0, len(order), size):
                part = order[start : start + size]
                batch = collate([sequences[i] for i in part], self.model.special.pad)
                for i, logp in zip(part, (-_by_sequence(batch, self._token_nll(batch))).tolist(), strict=True):
                    found[i] = logp
                bar.update(len(part))
        return found

    def _token_nll(self, batch: Batch) -> torch.Tensor:
        device = torch.device(self.device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.use_mixed_precision):
            return answer_token_nll(self.compiled_model.model, batch.to(device), weighted=True)

    def nll(self, batch: Any) -> torch.Tensor:
        """The sum of the rows' losses."""
        row_losses, found = self._losses(batch, self._token_nll(batch.batch))
        for name, values in found.items():
            self._found.setdefault(name, []).extend(values.detach().float().tolist())
        return row_losses.sum()

    def _losses(self, batch: PreferenceBatch, token_nll: torch.Tensor) -> tuple[torch.Tensor, Found]:
        raise NotImplementedError

    def _look_at(self, rows: Sequence[Preference]) -> None:
        """Finds what the loss of a row depends on beside the row: something about all rows of a step."""

    def _accumulate(self, batches: list[Any]) -> tuple[float, int, int]:
        self._look_at([row for batch in batches for row in batch.rows])
        return super()._accumulate(batches)

    def evaluation_batches(self, rows: Sequence[Row], size: int) -> Iterator[Any]:
        preferences = sorted(_preferences(rows), key=_width)
        self._look_at(preferences)
        for start in range(0, len(preferences), size):
            yield self._collate(preferences[start : start + size])

    def _lay_out(self, rows: list[Row]) -> list[Any]:
        preferences = list(_preferences(rows))
        cuts = cut_by_length([_width(row) for row in preferences], self.batch_size, self.call_cost)
        return [self._collate([preferences[i] for i in cut]) for cut in cuts]

    def _collate(self, rows: Sequence[Preference]) -> PreferenceBatch:
        sequences = [sequence for part in zip(*(row.learnt for row in rows), strict=True) for sequence in part]
        return PreferenceBatch(rows, collate(sequences, self.model.special.pad))

    def also_measured(self) -> dict[str, float]:
        """Means, over the rows seen since the last call, of what stands beside the loss."""
        everywhere, found = self.distributed.gather(self._found), {}
        self._found = {}
        for name in dict.fromkeys(name for part in everywhere for name in part):
            if values := [value for part in everywhere for value in part.get(name, [])]:
                found[name] = sum(values) / len(values)
        if "reward_chosen" in found and "reward_rejected" in found:
            found["reward_margin"] = found["reward_chosen"] - found["reward_rejected"]
        return found

    def summary(self) -> dict[str, Any]:
        """That of the parent, and on which part of the validation pairs the chosen answer was likelier before."""
        rows = self.evaluations.validation.rows if self.evaluations.validation is not None else []
        pairs = [row.references for row in rows if isinstance(row, Pair) and self.has_reference]
        share = sum(chosen > rejected for chosen, rejected in pairs) / len(pairs) if pairs else None
        return super().summary() | {"loss_name": self.loss_name, "validation_chosen_likelier_before": share}


class DPOTrainer(PreferenceTrainer):
    """Direct preference optimization, with `dpo_beta`, `dpo_loss_type` and `dpo_label_smoothing`."""

    kind = "dpo"
    loss_name = "DPO loss"

    def _losses(self, batch: PreferenceBatch, token_nll: torch.Tensor) -> tuple[torch.Tensor, Found]:
        logps, n = -_by_sequence(batch.batch, token_nll), len(batch.rows)
        references = _tensor([row.references for row in batch.rows], logps).T.flatten()
        ratios, tokens = logps - references, _answer_tokens(batch.batch).to(logps.device)
        chosen, rejected = (losses.Answers(ratios[half], tokens[half]) for half in (slice(n), slice(n, None)))
        config = self.config
        found = losses.dpo(chosen, rejected, config.dpo_beta, config.dpo_loss_type, config.dpo_label_smoothing)
        return found, _pair_facts(config.dpo_beta * ratios, logps)


class ORPOTrainer(PreferenceTrainer):
    """Odds ratio preference optimization with `orpo_beta`: the loss of all tokens of prompt and chosen answer, and the
    odds ratio of the answers. It has no reference; the reward of an answer is beta times its mean log p per token.
    """

    kind = "orpo"
    loss_name = "ORPO loss"
    has_reference = False

    def _collate(self, rows: Sequence[Preference]) -> PreferenceBatch:
        pairs = [row for row in rows if isinstance(row, Pair)]
        sequences = [Row(pair.ids, 1) for pair in pairs] + [pair.rejected for pair in pairs]
        return PreferenceBatch(rows, collate(sequences, self.model.special.pad))

    def _look_at(self, rows: Sequence[Preference]) -> None:
        tokens, pairs = self.distributed.sum(sum(len(row.ids) - 1 for row in rows), len(rows))
        self._tokens_per_pair = tokens / pairs

    def _losses(self, batch: PreferenceBatch, token_nll: torch.Tensor) -> tuple[torch.Tensor, Found]:
        n, predicted = len(batch.rows), (batch.batch.targets != IGNORED).nonzero()
        starts = torch.tensor([row.answer_start for pair in batch.rows for row in pair.learnt]).view(-1, 2).T.flatten()
        in_answer = (predicted[:, 1] + 1 >= starts[predicted[:, 0]]).to(token_nll.device)
        rows = predicted[:, 0].to(token_nll.device)
        summed = token_nll.new_zeros(2 * n).index_add(0, rows, token_nll * in_answer)
        tokens = token_nll.new_zeros(2 * n).index_add(0, rows, in_answer.to(token_nll.dtype))
        logps = -summed / tokens
        likelihood = token_nll.new_zeros(2 * n).index_add(0, rows, token_nll)[:n] / self._tokens_per_pair
        odds = losses.orpo(logps[:n], logps[n:], self.config.orpo_beta)
        facts = _pair_facts(self.config.orpo_beta * logps, logps) | {"odds_ratio_loss": odds, "nll": likelihood}
        return likelihood + odds, facts


class KTOTrainer(PreferenceTrainer):
    """Kahneman-Tversky optimization with `kto_beta`, on answers that are wanted (the output column) or not
    (`rejected_column`), whether a row has both or one.

    The divergence from the reference is estimated, as in TRL, on prompts with answers to other prompts: the mean log
    ratio of those of a step, or of all rows of an evaluation, but at least 0; no gradient goes through it.
    """

    kind = "kto"
    loss_name = "KTO loss"

    def _look_at(self, rows: Sequence[Preference]) -> None:
        now = self.logps([row.referenced[1] for row in rows])
        ratios = [logp - row.references[1] for logp, row in zip(now, rows, strict=True)]
        ratio, n = self.distributed.sum(sum(ratios), len(ratios))
        self._kl = max(0.0, ratio / n)

    def _losses(self, batch: PreferenceBatch, token_nll: torch.Tensor) -> tuple[torch.Tensor, Found]:
        logps, beta = -_by_sequence(batch.batch, token_nll), self.config.kto_beta
        ratios = logps - _tensor([row.references[0] for row in batch.rows], logps)
        wanted = [row.desirable for row in batch.rows if isinstance(row, Opinion)]
        desirable, kl = torch.tensor(wanted, device=logps.device), ratios.new_tensor(self._kl)
        rewards = beta * ratios
        found = {"reward_chosen": rewards[desirable], "reward_rejected": rewards[~desirable]}
        return losses.kto(ratios, desirable, kl, beta), found | {"kl": kl.expand(len(rewards))}


def _preferences(rows: Iterable[Row]) -> Iterator[Preference]:
    return (row for row in rows if isinstance(row, Pair | Opinion))


def _width(row: Preference) -> int:
    return max(len(sequence.ids) for sequence in row.learnt)


def _tensor(values: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)


def _by_sequence(batch: Batch, token_nll: torch.Tensor) -> torch.Tensor:
    """The sums over the learnt tokens of each sequence, (sequences,)."""
    rows = (batch.targets != IGNORED).nonzero()[:, 0].to(token_nll.device)
    return token_nll.new_zeros(len(batch.labels)).index_add(0, rows, token_nll)


def _answer_tokens(batch: Batch) -> torch.Tensor:
    return (batch.targets != IGNORED).sum(1)


def _pair_facts(rewards: torch.Tensor, logps: torch.Tensor) -> Found:
    """Rewards (2 x pairs, the chosen first), how often the chosen one is higher, and how often it is likelier."""
    (chosen, rejected), (likely, unlikely) = rewards.detach().chunk(2), logps.detach().chunk(2)
    return {
        "reward_chosen": chosen,
        "reward_rejected": rejected,
        "reward_accuracy": (chosen > rejected).float(),
        "chosen_likelier": (likely > unlikely).float(),
    }
