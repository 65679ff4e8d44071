"""Everything a person does, by keyboard alone: with scripts and without. Where the keyboard is can always be seen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page

from tests.browser.conftest import Open
from tests.browser.mailroom import PASSWORD, Mailroom
from tests.browser.watch import unfold, violations
from tests.instance import until

_MOST = 400
"""Steps to what is looked for."""
_SEEN = """element => {
  // The whole row of a list may be marked for the link in it, and a page scrolls to what has the keyboard.
  const marked = each => {
    const style = getComputedStyle(each);
    return (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
  };
  const box = element.getBoundingClientRect();
  return {
    tag: element.outerHTML.slice(0, 160),
    marked: marked(element) || (element.closest('li') !== null && marked(element.closest('li'))),
    inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""

scripted = pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])


def _reach(page: Page, target: Locator, key: str = "Tab") -> None:
    """Presses Tab until the keyboard is at the target; at each step one must see where it is."""
    wanted = target.first.element_handle()
    for _ in range(_MOST):
        page.keyboard.press(key)
        at = page.evaluate_handle("document.activeElement").as_element()
        if at is None or at.evaluate("each => each === document.body"):
            continue
        seen = at.evaluate(_SEEN)
        assert seen["marked"], f"the keyboard cannot be seen at {seen['tag']}"
        if at.evaluate("(each, other) => each === other", wanted):
            until(lambda: page.wait_for_timeout(20) or wanted.evaluate(_SEEN)["inside"], f"in sight: {seen['tag']}", 3)
            return
    raise AssertionError(f"not reached by Tab: {target}")


def _press(page: Page, target: Locator, key: str = "Enter") -> None:
    """Goes there, presses, and waits for the page that follows."""
    _reach(page, target)
    with page.expect_navigation():
        page.keyboard.press(key)


def _inspect(page: Page, scripts: bool) -> None:
    """The page in between. Where scripts are off, axe-core cannot run either."""
    unfold(page)
    assert not scripts or violations(page) == []


def _button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


def _link(page: Page, name: str) -> Locator:
    return page.get_by_role("link", name=name)


@scripted
def test_logs_in_and_out(scripts: bool, window: Open) -> None:
    page, watch = window(None, java_script_enabled=scripts)
    page.goto("/messages?state=dead")
    _reach(page, page.get_by_label("Name"))
    page.keyboard.type("vera")
    _reach(page, page.get_by_label("Password"))
    page.keyboard.type(PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith("/messages?state=dead")
    _press(page, _button(page, "Log out"), "Space")
    assert page.get_by_label("Password").is_visible()
    page.goto("/messages")
    assert "/login" in page.url
    assert watch.take() == []


@scripted
def test_searches_and_opens_a_message(scripts: bool, window: Open) -> None:
    page, watch = window("vera", java_script_enabled=scripts)
    page.goto("/messages")
    _reach(page, page.locator("#q"))
    page.keyboard.type("files of all sorts")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    _press(page, _link(page, "Files of all sorts"))
    assert page.locator("h1").inner_text() == "Files of all sorts"
    assert watch.take() == []


@scripted
def test_skips_to_the_content(scripts: bool, window: Open) -> None:
    page, _ = window("vera", java_script_enabled=scripts)
    page.goto("/messages")
    _reach(page, page.locator("a.skip"))
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@scripted
def test_retries_a_dead_delivery(scripts: bool, room: Mailroom, window: Open) -> None:
    page, watch = window("otto", java_script_enabled=scripts)
    message = room.ids[f"strict {int(scripts)}"]
    asked = len(room.receiver.requests)
    page.goto(f"/messages/{message}")
    card = page.get_by_role("article", name="Delivery to strict")
    _press(page, card.get_by_role("link", name="Retry").or_(card.get_by_role("button", name="Retry")))
    if "/retry" in page.url:
        _inspect(page, scripts)
        _press(page, page.locator("#act button"))
    assert page.get_by_role("status").inner_text()
    room.instance.wait_for_states(message, "dead", "delivered")
    assert len(room.receiver.requests) > asked
    assert watch.take() == []


@scripted
@pytest.mark.parametrize("act", ["Release", "Discard"])
def test_decides_about_a_held_message(act: str, scripts: bool, room: Mailroom, window: Open) -> None:
    page, watch = window("otto", java_script_enabled=scripts)
    message = room.ids[f"wait {int(scripts) + 2 * (act == 'Discard')}"]
    page.goto(f"/messages/{message}")
    _press(page, _link(page, act).or_(_button(page, act)))
    if not page.url.endswith(message):
        _inspect(page, scripts)
        _press(page, page.locator("#act button"))
    (row,) = room.instance.rows("SELECT state FROM messages WHERE id = ?", message)
    assert row["state"] != "held"
    assert page.get_by_role("status").inner_text()
    assert watch.take() == []


@scripted
def test_acts_on_many_after_a_preview(scripts: bool, room: Mailroom, window: Open) -> None:
    page, watch = window("otto", java_script_enabled=scripts)
    message = room.ids[f"nobody {int(scripts)}"]
    page.goto("/messages?state=unmatched")
    _reach(page, page.locator(f"input[value='{message}']"))
    page.keyboard.press("Space")
    _reach(page, page.locator("#bulk select"))
    page.keyboard.type("Discard")
    _press(page, page.locator("#bulk").get_by_role("button", name="Preview"))
    _inspect(page, scripts)
    _press(page, page.locator("#confirm button"))
    (row,) = room.instance.rows("SELECT state FROM messages WHERE id = ?", message)
    assert row["state"] == "discarded"
    assert watch.take() == []


@scripted
def test_pauses_and_resumes_a_destination(scripts: bool, room: Mailroom, window: Open) -> None:
    page, watch = window("otto", java_script_enabled=scripts)
    page.goto("/destinations")
    _reach(page, page.get_by_label("Why forum is paused"))
    page.keyboard.type("it moves")
    _press(page, _button(page, "Pause forum"))
    assert page.locator("#forum").get_by_text("it moves").is_visible()
    _press(page, _button(page, "Resume: forum"), "Space")
    assert _button(page, "Pause forum").is_visible()
    assert watch.take() == []


@scripted
def test_edits_a_rule_and_makes_it_active(scripts: bool, room: Mailroom, window: Open) -> None:
    page, watch = window("egon", java_script_enabled=scripts)
    path = "90-newsletters.yaml"
    page.goto(f"/rules/file?path={path}")
    if scripts:
        _reach(page, page.locator("#edit .ace_scroller"))
        page.keyboard.press("Enter")
    else:
        _reach(page, page.locator("#text"))
    page.keyboard.press("Control+Home")
    # The full stop also ends what the editor offers to complete: Enter would take it.
    page.keyboard.type(f"# edited {'with' if scripts else 'without'} scripts.\n")
    if scripts:
        page.keyboard.press("Escape")
    _press(page, page.locator("button[value=review]"))
    assert page.url.split("?")[0].endswith("/rules/draft")
    _inspect(page, scripts)
    _press(page, page.locator("#activate"))
    text = (room.instance.folder / "rules" / path).read_text(encoding="utf-8")
    assert text.startswith(f"# edited {'with' if scripts else 'without'} scripts.\n")
    assert watch.take() == []
