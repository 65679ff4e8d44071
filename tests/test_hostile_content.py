"""Mail that breaks a rule's rendering, or our own text making, costs itself only: everything else goes on."""

from __future__ import annotations

from tests.conftest import Start
from tests.instance import document

RULES = """\
rules:
  - name: Three times
    when: {recipient.user: triple}
    then: [archive: {body: "{{ text }} -- {{ text }} -- {{ text }}"}]
    stop: true
  - name: Number
    when: {recipient.user: number}
    extract: {n: {from: subject, matches: '(\\d+)'}}
    then: [hook: {data: {n: "{{ n | int }}"}}]
    stop: true
  - name: Everything else
    when: always
    then: [archive]
"""


def test_what_cannot_be_rendered_is_dead_and_the_rest_is_delivered(start_instance: Start) -> None:
    hook = {"kind": "webhook", "url": "http://127.0.0.1:9/", "allow_private": True}
    instance = start_instance(rules=RULES, destinations={"hook": hook})
    large = instance.post(document("large", text="word " * 200_000, recipient="triple@customer.example")).message
    huge = instance.post(document("9" * 30, recipient="number@customer.example")).message
    (dead,) = instance.wait_for_states(large, "dead")
    assert "Three times" in dead["reason"]
    (dead,) = instance.wait_for_states(huge, "dead")
    assert dead["reason"]
    after = instance.post(document("after them")).message
    instance.wait_for_states(after, "delivered")
    assert "starting it again" not in instance.log()


def test_html_that_cannot_become_text_is_taken_all_the_same(start_instance: Start) -> None:
    instance = start_instance()
    posted = document("html only", text=None)
    posted["Message"]["HtmlBody"] = "<p>before &#" + "9" * 5_000 + "; after</p>"
    taken = instance.post(posted).message
    instance.wait_for_states(taken, "delivered")
    message, _ = instance.stored(taken)
    assert message.text is not None
    assert message.text.startswith("before")
    assert message.text.endswith("after")
