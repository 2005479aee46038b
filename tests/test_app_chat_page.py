"""The application on a run, in a real browser: people talk with base and tuned, and keep what they like."""

import json
import re
import runpy
import shutil
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import expect, sync_playwright

from affinage.paths import DATASETS, MODELS
from affinage.runs import Run

app = runpy.run_path(str(Path(__file__).with_name("opened_app.py")))
make = runpy.run_path(str(Path(__file__).with_name("talking_models.py")))
BROWSER, DESKTOP, PHONE, Visitor = (app[name] for name in ("BROWSER", "DESKTOP", "PHONE", "Visitor"))
pytestmark = [
    pytest.mark.slow,  # a run is trained first
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine"),
    pytest.mark.xdist_group("app"),
]
expect.set_options(timeout=app["WAIT_MS"])
CONTEXT = 512  # of petit-llama, in tokens
TEMPLATE = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """petit-llama as it ships, trained for a few steps on rows that ship."""
    rows = pd.read_json(DATASETS / "voix-passive" / "voix-passive.jsonl", lines=True).head(80)[
        ["instruction", "input", "output"]
    ]
    trainer = {"type": "finetune", "epochs": 4, "batch_size": 8, "learning_rate": 0.003}
    generation = {"max_new_tokens": 48}
    folder, base = tmp_path_factory.mktemp("talking"), str(MODELS / "petit-llama")
    return make["train_run"](folder, base, rows, TEMPLATE, trainer=trainer, generation=generation)


@pytest.fixture(scope="module")
def url(run):
    with app["opened"]("--run", run.folder, "--results", run.folder.parents[2]) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser, url):
    with Visitor(browser, url) as visitor:
        yield visitor
        assert visitor.console == [] and visitor.asks_nobody_else()


def reviews(run):
    return [json.loads(line) for line in (run.folder / "reviews.jsonl").read_text(encoding="utf-8").splitlines()]


def example(visitor, record):
    """Asks the first example, which is this record of the test split."""
    expect(visitor.page.get_by_text(f"{record['instruction']} {record['input']}", exact=True)).to_be_visible()
    visitor.page.get_by_role("button", name="Try").first.click()
    visitor.page.get_by_test_id("stChatMessageAvatarAssistant").first.wait_for()


def test_both_sides_of_one_model_answer_as_in_the_evaluation_and_thumbs_are_kept(visitor, run):
    record, page = make["predictions"](run)[0], visitor.page
    expect(page.get_by_text("This model is tiny (1.9 million parameters)")).to_be_visible()
    page.get_by_role("radio", name="both").click()
    example(visitor, record)
    base, tuned = visitor.answers(2)
    assert [base.text_content(), tuned.text_content()] == [record["base"], record["tuned"]]
    thumbs = page.get_by_test_id("stFeedback")
    thumbs.nth(1).get_by_role("radio").first.click()
    expect(page.get_by_text("Kept, thank you.")).to_be_visible()
    visitor.until(lambda: len(reviews(run)) == 1)
    thumbs.nth(0).get_by_role("radio").last.click()
    visitor.until(lambda: len(reviews(run)) == 2)
    up, down = reviews(run)
    assert (up["review"], up["model"], up["output"], up["prompt"]) == ("up", "tuned", record["tuned"], record["prompt"])
    assert (down["review"], down["model"], down["input"]) == ("down", "base", record["input"])
    thumbs.nth(1).get_by_role("radio").last.click()
    visitor.until(lambda: [row["review"] for row in reviews(run)] == ["down", "down"])


def test_the_conversation_is_remembered_until_it_no_longer_fits_and_the_page_says_so(visitor):
    page = visitor.page
    page.get_by_role("textbox", name=re.compile("Instruction")).fill("Mets la phrase à la voix passive.")
    page.keyboard.press("Enter")
    for n in range(4):
        visitor.ask("Ma tante archive sa brochure. " * 14 + str(n))
        visitor.answers()
    expect(page.get_by_text("the oldest turns left out of what the model saw")).not_to_have_count(0)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the conversation").click()
    turns = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))["turns"]
    assert [turn["question"][-1] for turn in turns] == list("0123")
    given = [turn["answers"]["tuned"] for turn in turns]
    assert given[0]["prompt_tokens"] < given[1]["prompt_tokens"] and given[3]["forgotten"] > 0
    assert max(answer["prompt_tokens"] for answer in given) < CONTEXT


def test_whole_answers_are_exported_as_training_rows_and_the_others_are_counted(visitor):
    page = visitor.page
    visitor.ask("Ma tante archive sa brochure.")
    (first,) = visitor.answers()
    whole = page.get_by_text(re.compile("^Cut after")).count() == 0
    page.get_by_text("How answers are drawn").click()
    page.get_by_role("spinbutton", name="Longest answer").fill("1")
    page.keyboard.press("Enter")
    visitor.ask("L'actrice arrose ces arbustes.")
    expect(page.get_by_text("Cut after 1 tokens.")).to_be_visible()
    expect(page.get_by_text(f"did not end by themselves: {2 - whole}.")).to_be_visible()
    button = page.get_by_role("button", name=f"Export as training rows ({int(whole)})")
    if not whole:
        expect(button).to_be_disabled()
        return
    with page.expect_download() as exported:
        button.click()
    (row,) = [json.loads(line) for line in Path(exported.value.path()).read_text(encoding="utf-8").splitlines()]
    assert row["instruction"] == "Ma tante archive sa brochure." and row["output"] == first.text_content()
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_role("button", name="Try").first).to_be_visible()


def test_two_people_have_each_their_own_conversation(browser, url, visitor, run):
    with Visitor(browser, url, locale="fr-FR") as other:  # and each their own language
        expect(other.page.get_by_text("Ce modèle est minuscule (1,9 millions de paramètres)")).to_be_visible()
        visitor.ask("le chat de la maison")
        other.ask("la souris du jardin")
        visitor.answers()
        other.answers()
        expect(visitor.page.get_by_text("la souris du jardin")).to_have_count(0)
        expect(other.page.get_by_text("le chat de la maison")).to_have_count(0)
        assert other.console == []


def test_settings_and_conversation_are_still_there_after_a_look_at_another_page(visitor):
    visitor.ask("un livre rouge")
    (answer,) = visitor.answers()
    said = answer.text_content()
    visitor.page.get_by_role("radio", name="base").click()
    visitor.go("Runs")
    visitor.go("Chat")
    (answer,) = visitor.answers()
    assert answer.text_content() == said
    assert visitor.page.get_by_role("radio", name="base").get_attribute("aria-checked") == "true"


def test_chosen_runs_are_compared_on_the_page_of_make_compare(visitor, run):
    page = visitor.page
    visitor.go("Runs")
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible()
    page.get_by_role("button", name="Compare").click()
    expect(page.frame_locator("iframe").get_by_role("heading", name="Comparison: copie")).to_be_visible()
    expect(page.frame_locator("iframe").get_by_text("Rows side by side").first).to_be_visible()
    assert list((run.folder.parents[2] / "comparisons").glob("*.html"))


def test_a_run_in_training_is_followed_live(visitor, run):
    assert run.manifest["planned_steps"] == run.manifest["training"]["steps"]
    page, folder = visitor.page, run.folder.with_name("20990101-000000")
    folder.mkdir()
    training = Run(folder, run.manifest | {"run_id": folder.name, "status": "finished"})
    visitor.go("Runs")
    try:
        with training.held(), (folder / "history.jsonl").open("a") as history:
            training.record(status="running", planned_steps=10, started="2099-01-01T00:00:00+00:00", training=None)
            expect(page.get_by_text("step 0 of 10")).to_be_visible()
            for step in range(1, 11):
                history.write(json.dumps({"step": step, "loss": 1 / step, "lr": 0.1, "tokens": 9}) + "\n")
                history.flush()
                if step in (4, 10):
                    expect(page.get_by_text(f"step {step} of 10 · loss {1 / step:.4f}")).to_be_visible()
                    expect(page.get_by_text("s left" if step == 4 else "answering the test rows")).to_be_visible()
            training.record(status="finished")
        expect(page.get_by_text("In training:")).to_have_count(0)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_fits_the_screen_and_complains_of_nothing(browser, url, size, tmp_path):
    with Visitor(browser, url, size) as visitor:
        for name in ("Chat", "Documents", "Summaries", "Runs"):
            if name != "Chat":
                visitor.go(name)
            picture = visitor.page.screenshot(path=str(tmp_path / f"{name}.png"))
            assert visitor.fits() and len(picture) > 5_000, name
        assert visitor.console == [] and visitor.asks_nobody_else()
