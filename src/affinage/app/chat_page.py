"""The page to talk with the model: base, tuned or both, with memory, thumbs and what can be kept."""

import json
import logging
from contextlib import closing
from typing import Any

import streamlit as st

from affinage import reviews
from affinage.app.conversation import (
    Given,
    Turn,
    as_jsonl,
    chosen,
    earlier,
    fitting,
    saved,
    training_row,
    training_rows,
)
from affinage.app.frame import begin, plain, reason, show_error
from affinage.app.opened import Example, Opened
from affinage.app.words import say
from affinage.chat import Drawing
from affinage.errors import AffinageError
from affinage.speakers.local import LocalSpeaker
from affinage.speakers.speech import Converser, patiently

log = logging.getLogger(__name__)
BOTH = "both"
TURNS, ASKED, INSTRUCTION, SIDE, MEMORY = "turns", "asked", "instruction", "side", "memory"


def show() -> None:
    """Draws the page for one visitor."""
    opened = begin("chat")
    turns: list[Turn] = st.session_state.setdefault(TURNS, [])
    sides = _choose_sides(opened)
    drawing = _settings(opened)
    typed = st.chat_input(say("ask"), key="question", submit_mode="disable")
    question = (st.session_state.pop(ASKED, None) or typed or "").strip()
    spot = st.empty()  # emptied at once when a conversation begins
    if not turns and not question:
        with spot.container():
            _examples(opened)
    for turn in turns:
        _draw(opened, turns, turn)
    if question:
        turn = Turn(question, st.session_state.get(INSTRUCTION, "").strip(), alone=not st.session_state[MEMORY])
        turns.append(turn)
        _answer(opened, turns, turn, sides, drawing)
        st.rerun()
    if turns:
        _keep(opened, turns)


def _choose_sides(opened: Opened) -> list[str]:
    sides = list(opened.speakers)
    if len(sides) > 1:
        st.segmented_control(
            say("who"),
            [*sides, BOTH],
            default="tuned",
            format_func=lambda side: say(f"side_{side}"),
            key=SIDE,
            required=True,
            persist_state="session",
        )
    st.text_input(
        say("instruction"),
        key=INSTRUCTION,
        placeholder=say("instruction_example"),
        persist_state="session",
        help=say("instruction_help"),
    )
    one = st.session_state.get(SIDE)
    return [one] if one in sides else sides


def _settings(opened: Opened) -> Drawing:
    speaker = next(iter(opened.speakers.values()))
    usual, longest = speaker.usual, speaker.context_length
    with st.expander(say("settings"), icon=":material/tune:"):
        left, right = st.columns(2)
        temperature = left.slider(
            say("temperature"),
            0.0,
            2.0,
            usual.temperature,
            0.05,
            key="temperature",
            help=say("temperature_help"),
            persist_state="session",
        )
        top_p = right.slider(
            say("top_p"), 0.05, 1.0, usual.top_p, 0.05, key="top_p", disabled=not temperature, persist_state="session"
        )
        tokens = left.number_input(
            say("max_tokens"),
            1,
            longest,
            min(usual.max_new_tokens or longest, longest),
            key="max_tokens",
            persist_state="session",
        )
        seed = right.number_input(
            say("seed"), 0, 2**53 - 1, None, key="seed", placeholder=say("seed_none"), persist_state="session"
        )
        st.toggle(say("memory"), True, key=MEMORY, help=say("memory_help"), persist_state="session")
    return Drawing(temperature=temperature, top_p=top_p, max_new_tokens=int(tokens), seed=seed)


def _examples(opened: Opened) -> None:
    if not opened.examples:
        return
    st.caption(say("examples"))
    for n, example in enumerate(opened.examples):
        asked = "\n".join(filter(None, (example.instruction, example.question)))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(say("try_it"), key=f"example-{n}", icon=":material/play_arrow:", on_click=_ask, args=(example,))
            plain(asked)


def _ask(example: Example) -> None:
    st.session_state[ASKED] = example.question
    st.session_state[INSTRUCTION] = example.instruction


def _draw(opened: Opened, turns: list[Turn], turn: Turn) -> None:
    _draw_question(turn)
    for place, (side, given) in zip(_places(turn.answers), turn.answers.items(), strict=True):
        with place, st.chat_message("assistant"):
            if len(opened.speakers) > 1:
                st.caption(say(f"side_{side}"))
            plain(given.text)
            _notices(given)
            if given.said and given.stop:
                st.feedback(
                    key=f"thumb-{given.id}",
                    on_change=_review,
                    args=(opened, turns, turn, side),
                    persist_state="session",
                )


def _draw_question(turn: Turn) -> None:
    with st.chat_message("user"):
        if turn.instruction:
            st.caption(say("asked_with"))
            plain(turn.instruction)
        plain(turn.question)


def _places(answers: Any) -> list[Any]:
    return st.columns(len(answers)) if len(answers) > 1 else [st.container() for _ in answers]


def _notices(given: Given) -> None:
    if given.forgotten:
        st.caption(say("forgotten", n=given.forgotten))
    if given.error:
        show_error(given.error, "model_failed")
    elif given.stop == "cancelled":
        st.caption(say("stopped"))
    elif given.stop == "length":
        st.caption(say("cut", n=given.tokens))
    elif given.stop == "end" and not given.text.strip():
        st.caption(say("empty_answer"))


def _answer(opened: Opened, turns: list[Turn], turn: Turn, sides: list[str], drawing: Drawing) -> None:
    """Streams the answer of each side in turn; leaving or asking for something else ends the one being made."""
    _draw_question(turn)
    before = [] if turn.alone else earlier(turns[:-1], turn.instruction)
    turn.answers |= {side: Given(drawing=chosen(drawing)) for side in sides}
    spots = {}
    for place, side in zip(_places(sides), sides, strict=True):
        with place, st.chat_message("assistant"):
            if len(opened.speakers) > 1:
                st.caption(say(f"side_{side}"))
            spots[side] = st.empty()
            spots[side].caption(say("waiting"))
    st.button(say("stop"), key="stop", icon=":material/stop_circle:")
    try:
        for side in sides:
            _stream(opened.speakers[side], before, turn, side, drawing, spots[side])
    finally:
        for given in turn.answers.values():
            given.stop = given.stop or "cancelled"


def _stream(speaker: Converser, before: list[Turn], turn: Turn, side: str, drawing: Drawing, spot: Any) -> None:
    given = turn.answers[side]
    try:
        messages, given.forgotten = fitting(speaker, before, side, turn, drawing.max_new_tokens)
        speech = speaker.ask(messages, drawing)
        with closing(patiently(speech)) as pieces:
            for piece in pieces:
                given.text += piece
                if given.text:
                    plain(given.text, spot)
                else:
                    spot.caption(say("waiting"))
        ending = speech.ending
        given.text, given.stop = ending.text, ending.stop
        given.prompt_tokens, given.tokens = ending.prompt_tokens, ending.tokens
    except Exception as error:
        if not isinstance(error, AffinageError):
            log.exception("the model failed")
        given.error = reason(error)
    given.stop = given.stop or ("failed" if given.error else "")


def _review(opened: Opened, turns: list[Turn], turn: Turn, side: str) -> None:
    """Keeps a thumb beside the run, with all that is needed to train on the answer or to compare a judge with it."""
    given, speaker = turn.answers[side], opened.speakers[side]
    thumb = {1: reviews.UP, 0: reviews.DOWN}.get(st.session_state[f"thumb-{given.id}"])
    row = training_row(speaker, turns[: turns.index(turn)], turn, side)
    row |= {reviews.ANSWER: given.text, "stop": given.stop, "drawn": given.drawing}
    if isinstance(speaker, LocalSpeaker) and not row["turns_before"]:
        instruction = [{"role": "system", "content": turn.instruction}] if turn.instruction else []
        row["prompt"] = speaker.prompt([*instruction, {"role": "user", "content": turn.question}])
    try:
        reviews.review(opened.reviews, row, thumb)
        st.toast(say("review_kept" if thumb else "review_taken_back"))
    except AffinageError as error:
        show_error(error)


def _keep(opened: Opened, turns: list[Turn]) -> None:
    """Buttons that save the conversation, export rows, and begin anew."""
    rows, left_out = training_rows(opened.speakers, turns)
    with st.container(horizontal=True):
        st.download_button(
            say("save"),
            json.dumps(saved(turns, opened.name), ensure_ascii=False, indent=2),
            "conversation.json",
            "application/json",
            on_click="ignore",
            icon=":material/save:",
        )
        st.download_button(
            say("export", n=len(rows)),
            as_jsonl(rows),
            "training_rows.jsonl",
            "application/jsonl",
            on_click="ignore",
            icon=":material/dataset:",
            disabled=not rows,
        )
        st.button(say("anew"), on_click=turns.clear, icon=":material/restart_alt:")
    st.caption(say("left_out", n=left_out) if left_out else say("all_whole"))
