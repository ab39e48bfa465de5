"""What a scenario may get wrong about models: what agents ask, what the provider allows, how it misbehaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import unknown_name
from harness.scenario.checks import Draft, at_least, positive, share
from harness.scenario.mistakes import KeyPath, Mistake
from harness.scenario.models import Ask, FallbackModel, Llm, LlmFault, Quota, undated
from harness.scenario.scenario import Scenario
from harness.scenario.state_checks import works_of

TOKENS_MAX = 10_000_000
SDK_RETRIES_MAX = 10
PORT_MAX = 65_535

READ_BY: Mapping[str, tuple[str, ...]] = {
    "delay": ("slow_first_token", "stall"),
    "status": ("error",),
    "retry_after": ("error",),
}
"""Key of a fault -> the kinds of faults that read it."""


def needs_llm(scenario: Scenario) -> bool:
    """Whether somebody asks models: an agent by its work, or a target that is given an `[llm]` table."""
    return scenario.llm is not None or any(work.llm is not None for _, work in works_of(scenario))


def check_llm(draft: Draft) -> Iterator[Mistake]:
    """Agents that ask models, and the provider they ask."""
    asks = [(path, work) for path, work in works_of(draft.scenario) if work.llm is not None]
    for place, work in asks:
        if work.llm is not None:
            yield from _check_ask(draft, (*place, "llm"), work.llm)
        if work.think is not None:
            text = "an attempt that asks a model does not also wait for one; remove think or llm"
            yield Mistake(place, text, reads=((*place, "think"), (*place, "llm")))
    if draft.scenario.llm is not None:
        yield from _check_provider(draft, draft.scenario.llm, is_asked=bool(asks))


def _check_provider(draft: Draft, llm: Llm, *, is_asked: bool) -> Iterator[Mistake]:
    path: KeyPath = ("llm",)
    if draft.target_kind == "embedded" and not is_asked:
        text = "is declared, but no agent's work asks a model; add work = { llm = { … } }, or remove it"
        yield Mistake(path, text, reads=(path, ("agent",), ("workflow",)))
    if draft.target_kind == "http" and llm.port is None:
        text = "a black box cannot be told where models are: give the port that it asks"
        yield Mistake(path, text, reads=((*path, "port"), ("target",)))
    if llm.port is not None and not 1 <= llm.port <= PORT_MAX:
        yield Mistake((*path, "port"), f"should lie in 1..{PORT_MAX}, not {llm.port}")
    if not 0 <= llm.sdk_retries <= SDK_RETRIES_MAX:
        yield Mistake((*path, "sdk_retries"), f"should lie in 0..{SDK_RETRIES_MAX}, not {llm.sdk_retries}")
    for name, like in llm.models.items():
        if like not in draft.known.models:
            yield Mistake((*path, "models", name), unknown_name("latency class", like, draft.known.models))
    for model, quota in llm.quota.items():
        yield from _check_quota(draft, (*path, "quota", model), model, quota)
    for position, fault in enumerate(llm.fault):
        yield from _check_fault(draft, (*path, "fault", position), fault)


def _provider(draft: Draft, model: str) -> str | None:
    """Whose model it is: empty for either's, None for nobody's."""
    if draft.scenario.llm is not None and model in draft.scenario.llm.models:
        return ""
    served = draft.known.served
    return served.get(model, served.get(undated(model)))


def _known_models(draft: Draft) -> list[str]:
    return [*draft.known.served, *(draft.scenario.llm.models if draft.scenario.llm else ())]


def _check_model(draft: Draft, path: KeyPath, ask: Ask | FallbackModel) -> Iterator[Mistake]:
    """That the provider of `api` has that model."""
    model: KeyPath = (*path, "model")
    provider, asked = _provider(draft, ask.model), ask.api.partition(".")[0]
    if provider is None:
        text = f"{unknown_name('model', ask.model, _known_models(draft))}; [llm.models] can name more"
        yield Mistake(model, text, reads=(model, ("llm", "models")))
    elif provider not in ("", asked):
        text = f"{ask.model!r} is {provider}'s, and api is {ask.api!r}"
        yield Mistake(model, text, reads=(model, (*path, "api")))


def _check_fallback(draft: Draft, path: KeyPath, ask: Ask) -> Iterator[Mistake]:
    if ask.fallback is None:
        return
    yield from _check_model(draft, path, ask.fallback)
    yield from at_least((*path, "at_once"), ask.fallback.at_once, 1)
    if ask.fallback.model == ask.model:
        yield Mistake((*path, "model"), "is the one that is away; name another", reads=((*path, "model"),))
    if "llm" not in draft.scenario.orchestrator.breaker:
        text = "is asked while the breaker of llm is open, and there is none; add [orchestrator.breaker.llm]"
        yield Mistake(path, text, reads=(path, ("orchestrator", "breaker")))


def _check_ask(draft: Draft, path: KeyPath, ask: Ask) -> Iterator[Mistake]:
    yield from _check_model(draft, path, ask)
    yield from _check_fallback(draft, (*path, "fallback"), ask)
    for key, tokens in (("input_tokens", ask.input_tokens), ("output_tokens", ask.output_tokens)):
        yield from at_least((*path, key), tokens, 1)
        if tokens > TOKENS_MAX:
            yield Mistake((*path, key), f"should be at most {TOKENS_MAX:,}, not {tokens:,}")
    for key, limit_s in (
        ("timeout", ask.timeout),
        ("first_token", ask.first_token),
        ("between_tokens", ask.between_tokens),
    ):
        yield from positive((*path, key), limit_s)
        if key != "timeout" and not ask.stream and _wrote(draft, (*path, key)):
            text = "is read only with stream = true: a whole answer has only its timeout"
            yield Mistake((*path, key), text, reads=((*path, key), (*path, "stream")))


def _wrote(draft: Draft, path: KeyPath) -> bool:
    """As `Draft.wrote`, through lists as well."""
    value: Any = draft.written
    for part in path:
        try:
            value = value[part]
        except (
            KeyError,
            IndexError,
            TypeError,
        ):  # not there, or of another form than the path, which is told elsewhere
            return False
    return True


def _check_quota(draft: Draft, path: KeyPath, model: str, quota: Quota) -> Iterator[Mistake]:
    provider = _provider(draft, model)
    if provider is None:
        text = f"{unknown_name('model', model, _known_models(draft))}; [llm.models] can name more"
        yield Mistake(path, text, reads=(path, ("llm", "models")))
    limits = {
        "requests": quota.requests,
        "tokens": quota.tokens,
        "input_tokens": quota.input_tokens,
        "output_tokens": quota.output_tokens,
        "ramp": quota.ramp,
        "spend": quota.spend,
    }
    for key, value in limits.items():
        if value is not None:
            yield from positive((*path, key), value)
    if all(value is None for value in limits.values()):
        yield Mistake(path, f"limits nothing; give one of {', '.join(limits)}")
    yield from positive((*path, "burst"), quota.burst)
    for key, owner in (("tokens", "openai"), ("input_tokens", "anthropic"), ("output_tokens", "anthropic")):
        if limits[key] is not None and provider not in (owner, "", None):
            text = f"is how {owner} counts, and {model!r} is {provider}'s"
            yield Mistake((*path, key), text, reads=((*path, key), path))


def _check_fault(draft: Draft, path: KeyPath, fault: LlmFault) -> Iterator[Mistake]:
    yield from share((*path, "share"), fault.share)
    if fault.first is not None:
        yield from at_least((*path, "first"), fault.first, 1)
    if fault.agent is not None and draft.target_kind == "embedded" and fault.agent not in draft.scenario.agent:
        text = unknown_name("agent", fault.agent, draft.scenario.agent)
        yield Mistake((*path, "agent"), text, reads=((*path, "agent"), ("agent",)))
    if fault.model is not None and _provider(draft, fault.model) is None:
        text = unknown_name("model", fault.model, _known_models(draft))
        yield Mistake((*path, "model"), text, reads=((*path, "model"), ("llm", "models")))
    for key, kinds in READ_BY.items():
        if fault.fault not in kinds and _wrote(draft, (*path, key)):
            text = f"is read only by {' and '.join(kinds)}, not by {fault.fault}; remove it"
            yield Mistake((*path, key), text, reads=((*path, key), (*path, "fault")))
    yield from positive((*path, "delay"), fault.delay)
    yield from _check_window(draft, path, fault)


def _check_window(draft: Draft, path: KeyPath, fault: LlmFault) -> Iterator[Mistake]:
    """When it happens: `at`, for `lasts`, again each `every`."""
    measure_s = draft.scenario.load.measure
    if fault.at is None:
        for key, value in (("lasts", fault.lasts), ("every", fault.every)):
            if value is not None:
                yield Mistake((*path, key), "needs at: when it begins", reads=((*path, key), (*path, "at")))
        return
    end = fault.at + (fault.lasts or 0.0)
    if fault.at >= measure_s or (fault.lasts is not None and end > measure_s):
        text = f"ends {end:g} s into a measure of {measure_s:g} s"
        yield Mistake(path, text, reads=((*path, "at"), (*path, "lasts"), ("load", "measure")))
    for key, value in (("lasts", fault.lasts), ("every", fault.every)):
        if value is not None:
            yield from positive((*path, key), value)
    if fault.every is not None and (fault.lasts is None or fault.lasts >= fault.every):
        text = "should be longer than lasts: between two bursts there is a time without"
        yield Mistake((*path, "every"), text, reads=((*path, "every"), (*path, "lasts")))
