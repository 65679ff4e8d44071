"""The reply text of a mail: what its writer wrote anew, told apart from quotes and signature line by line.

Each line gets a label by its own look and that of its neighbours; the sequence of labels decides. Every line is looked
at a bounded number of times. It is a judgement that errs towards keeping: where nothing would be left, all is.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from postroom.mail.attributions import (
    attribution_lines,
    ends_attribution,
    header_block,
    header_class,
    is_delimiter,
    is_rule,
    is_ruled,
    shown,
)

MOST_LINES = 10_000
"""Lines that are looked at; those beyond have the label of the last one."""
LONGEST_LINE = 700
"""Characters of a line that are looked at."""
MOST_ATTRIBUTIONS = 1_000
"""Lines that are looked at closely, for they may end an attribution."""
_LONGEST_SIGNATURE = 12
_LONGEST_ANSWERED = 12
"""Lines of a quote that stays when a single answer stands below it."""


class Part(enum.StrEnum):
    """What a line belongs to."""

    NEW = "new"
    """The writer's own words, and the quotes between them that they answer."""
    QUOTE = "quote"
    """Another mail, or what introduces it."""
    SIGNATURE = "signature"
    """What stands below each mail of the writer, or of the program."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The parts of a text. Every line of it that is not empty is in one of them."""

    text: str
    """The writer's own words. The whole text where nothing else would be left of it."""
    quote: str
    signature: str


_QUOTED = re.compile(r"\s{0,3}(?:>|＞|&gt;)")
_SIGNATURE_MARK = re.compile(r"\s{0,3}(?:--|__|––)\s{0,3}")
_FOOTER = re.compile(
    r"(?:reply to this e?-?mail directly|you (?:are receiving|received) this|to unsubscribe|.{0,60}mailing list\b|unsubscribe\b"
    r"|view it on|this e?-?mail (?:and any|was sent)|sie erhalten diese)"
)
# fmt: off
_DEVICE = re.compile(
    r"(?:(?:sent|gesendet|envoyé|enviado|inviato|verzonden|verstuurd|skickat|sendt|lähetetty|wysłane|wysłano|odesláno|odoslané|trimis|"
    r"отправлено|надіслано|gönderildi|στάλθηκε|küldve|poslano|poslané|enviada|envoyée|dikirim|diese nachricht wurde)\s"
    r"(?:from|via|with|using|by|mit|von|vom|mittels|depuis|de|par|à partir|desde|do|da|dal|con|vanaf|met|via|från|med|fra|din|cu|z|ze|za|с|со|з|"
    r"из|από|dari|pomocí|iphonesta|ipadista|puhelimesta|androidista|laitteesta|outlookista)\b.{0,70}"
    r"|von mein(?:em|er) .{1,40} (?:gesendet|aus gesendet)|.{1,40}'?(?:dan|den|tan|ten|imden|umdan|ımdan) gönderildi|发自.{1,40}|發自.{1,40}|從我的.{1,30}傳送|从我的.{1,30}发送"
    r"|.{1,30}から送信(?:されました)?|나의 .{1,30}에서 (?:보냄|보낸.{0,10})|.{1,30}에서 보냄|נשלח מה.{1,30}|أُ?رسلت من .{1,40}|lähetetty .{1,40}|elküldve .{1,40}"
    r"|get outlook for .{1,20}|download outlook .{1,30}|outlook für .{1,20} beziehen|télécharge[rz] outlook .{1,30}|obtener outlook .{1,30}|scarica outlook .{1,30}"
    r"|sent (?:on|in) the go.{0,20}|envoy[ée] .{0,10}iphone|yahoo mail.{0,60}on android|typed with thumbs.{0,40})"
)
_LINK = re.compile(r"\s{0,3}[<(\[]?(?:https?://|mailto:)[^\s]{1,300}$")
_CLOSINGS = re.compile(
    r"(?:(?:kind|best|warm|warmest|kindest|with (?:kind|best)|many|my best)?\s?regards|best wishes|all the best"
    r"|yours (?:sincerely|faithfully|truly)|cheers|(?:mit )?(?:freundlich|best|lieb|herzlich|viel|schön)e?n? grü(?:ß|ss)en?|viele grüße|liebe grüße|beste grüße|schöne grüße|mfg|lg|vg"
    r"|(?:bien )?cordialement|bien à vous|(?:meilleures )?salutations(?: distinguées)?|(?:un )?(?:cordial )?saludos?(?: cordiales)?|atentamente|un saludo"
    r"|(?:cordiali|distinti) saluti|saluti|atenciosamente|cumprimentos|(?:com os )?melhores cumprimentos|abraços|(?:met )?vriendelijke groet(?:en)?"
    r"|(?:med )?vennlig hilsen|(?:med )?venlig hilsen|mvh|(?:med )?vänliga? hälsning(?:ar)?|(?:ystävällisin|parhain) terveisin|terveisin|pozdrawiam|z poważaniem"
    r"|s pozdravem|s pozdravom|üdvözlettel|cu stimă|с уважением|з повагою|saygılarımla|με εκτίμηση|此致|敬上|よろしくお願いします|감사합니다|salam)\s*[,.!:;-]{0,2}"
)
# fmt: on


def split_reply(text: str) -> Reply:
    """The parts of a plain text. Nothing is lost: what is cut stands in `quote` and `signature`."""
    # What follows the lines that are looked at stays one piece: to tell its lines apart would serve nobody.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n", MOST_LINES)
    parts: dict[Part, list[str]] = {part: [] for part in Part}
    for line, part in zip(lines, label_lines(lines), strict=True):
        parts[part].append(line)
    new, quote, signature = ("\n".join(parts[part]).strip("\n").rstrip() for part in Part)
    return Reply(_without_leading_blanks(new), quote, signature)


def label_lines(lines: Sequence[str]) -> list[Part]:
    """The part of each line. Lines may be those of another rendering's text: the same lines can be chosen there."""
    looked_at = [line[:LONGEST_LINE] for line in lines[:MOST_LINES]]
    labels = _Labels(looked_at).decide()
    labels += [labels[-1] if labels else Part.NEW] * (len(lines) - len(labels))
    if not any(part is Part.NEW and line.strip() for line, part in zip(lines, labels, strict=True)):
        # Only a quote, a forwarded mail or a signature: whoever reads it wants to see it.
        return [Part.NEW] * len(labels)
    return labels


class _Labels:
    def __init__(self, lines: list[str]) -> None:
        self._shown = [shown(line) for line in lines]
        self._quoted = [
            _QUOTED.match(line) is not None and not (position and _closes_address(lines[position - 1], line))
            for position, line in enumerate(lines)
        ]
        self._labels = [Part.NEW] * len(lines)
        self._introduced = [False] * len(lines)
        """Lines of attributions: never kept, whatever stands below."""
        self._next = self._following()
        self._attributions_left = MOST_ATTRIBUTIONS

    def decide(self) -> list[Part]:
        self._join_wrapped_quotes()
        end = self._mark_quotes()
        self._mark_signature(end)
        self._keep_answered_quotes(end)
        self._mark_rules_before_cuts()
        return self._labels

    def _following(self) -> list[int]:
        """For each line the next one that is not empty; the number of lines where there is none."""
        count = len(self._shown)
        following, last = [count] * (count + 1), count
        for position in range(count - 1, -1, -1):
            following[position] = last
            if self._shown[position]:
                last = position
        return following

    def _join_wrapped_quotes(self) -> None:
        """A quoted line that a program broke leaves its rest without a mark, between two others."""
        for position in range(1, len(self._shown) - 1):
            above, below = self._quoted[position - 1], self._quoted[position + 1]
            if above and below and self._shown[position] and not self._quoted[position]:
                self._quoted[position] = len(self._shown[position - 1]) > 60

    def _mark_quotes(self) -> int:
        """Labels quotes, and what introduces them. Returns where the part of the writer ends."""
        count = len(self._shown)
        position = 0
        while position < count:
            line = self._shown[position]
            if not line:
                position += 1
                continue
            if self._quoted[position]:
                self._labels[position] = Part.QUOTE
                position += 1
                continue
            if self._stands_alone(position) and self._is_device(line) and self._next[position] < count:
                # A program puts its line below what is new: what follows is old, though no mark shows it.
                self._labels[position + 1 :] = [Part.QUOTE] * (count - position - 1)
                return position + 1
            begins, ends = self._introduction(position)
            if ends < 0:
                position += 1
                continue
            for marked in range(begins, ends + 1):
                self._labels[marked] = Part.QUOTE
                self._introduced[marked] = True
            below = self._next[ends]
            if below >= count or not self._quoted[below]:
                # Quoted without marks: all that follows.
                self._labels[begins:] = [Part.QUOTE] * (count - begins)
                return begins
            position = ends + 1
        return count

    def _stands_alone(self, position: int) -> bool:
        """Between empty lines, with words somewhere above."""
        above, below = self._at(position - 1) if position else "", self._at(position + 1)
        return position > 1 and not above and not below and any(self._shown[max(0, position - 20) : position])

    def _introduction(self, position: int) -> tuple[int, int]:
        """First and last line of what introduces a quote, where it ends or begins with this line; (0, -1) else."""
        line = self._shown[position]
        if is_delimiter(line) or (is_ruled(line) and header_class(self._at(self._next[position]))):
            below = self._next[position]
            headers = header_block(self._shown, below) if below < len(self._shown) else 0
            return position, below + headers - 1 if headers else position
        if header_class(line):
            headers = header_block(self._shown, position)
            if headers:
                return position, position + headers - 1
        if self._attributions_left and ends_attribution(line):
            self._attributions_left -= 1
            below = self._next[position]
            quote_follows = below < len(self._shown) and self._quoted[below]
            count = attribution_lines(self._shown, position, quote_follows=quote_follows)
            if count:
                return position - count + 1, position
        return 0, -1

    def _at(self, position: int) -> str:
        return self._shown[position] if position < len(self._shown) else ""

    def _mark_signature(self, end: int) -> None:
        """Labels the signature at the end of the writer's part: behind its mark, of a device, behind a closing."""
        # What stands below quotes at the end may be a signature too.
        last = self._last_new(end)
        for position in range(max(0, last - 60), last + 1):
            if self._labels[position] is not Part.NEW or not self._shown[position]:
                continue
            if self._begins_signature(position, last):
                for marked in range(position, last + 1):
                    if self._labels[marked] is Part.NEW:
                        self._labels[marked] = Part.SIGNATURE
                break
        last = self._last_new(end)
        while last >= 0 and self._is_device(self._shown[last]):
            self._labels[last] = Part.SIGNATURE
            last = self._last_new(last)
        self._mark_closing(last)

    def _begins_signature(self, position: int, last: int) -> bool:
        line = self._shown[position]
        rest = [text for text in self._shown[position + 1 : last + 1] if text]
        if _SIGNATURE_MARK.fullmatch(line):
            # `--` with a line of words close above and below is rather a table or a list.
            return len(rest) <= 3 * _LONGEST_SIGNATURE
        if (is_rule(line) or line in ("—", "–")) and rest and len(rest) <= _LONGEST_SIGNATURE:
            return any(_FOOTER.match(text) for text in rest[:2])
        return False

    def _mark_closing(self, last: int) -> None:
        """`Best regards`, and the name below."""
        below = 0
        for position in range(last, max(-1, last - 12), -1):
            line = self._shown[position]
            if not line:
                continue
            if self._labels[position] is not Part.NEW:
                return
            if _CLOSINGS.fullmatch(line[:80]):
                if any(self._shown[above] for above in range(position)):
                    self._labels[position : last + 1] = [Part.SIGNATURE] * (last + 1 - position)
                return
            below += 1
            if below > 6 or len(line) > 60:
                return

    def _is_device(self, line: str) -> bool:
        bare = _LINK.sub("", line).strip("*_[] ")
        return len(bare) <= 110 and not bare.endswith(".") and ", " not in bare and _DEVICE.fullmatch(bare) is not None

    def _last_new(self, end: int) -> int:
        for position in range(end - 1, -1, -1):
            if self._labels[position] is Part.NEW and self._shown[position]:
                return position
        return -1

    def _keep_answered_quotes(self, end: int) -> None:
        """Quotes between the writer's words stay: the words below answer them."""
        groups: list[tuple[int, int]] = []
        position = 0
        while position < end:
            if self._labels[position] is not Part.QUOTE:
                position += 1
                continue
            first = position
            while position < end and (self._labels[position] is Part.QUOTE or not self._shown[position]):
                position += 1
            groups.append((first, position))
        answered = [group for group in groups if self._words_below(group[1], end)]
        if not answered:
            if groups and self._is_sample(groups[-1][0], end):
                self._keep(*groups[-1])
            return
        words_above = any(self._labels[each] is Part.NEW and self._shown[each] for each in range(answered[0][0]))
        first, last = answered[0]
        quoted = sum(bool(self._shown[each]) and not self._introduced[each] for each in range(first, last))
        if len(answered) > 1 or (words_above and quoted <= _LONGEST_ANSWERED):
            for group in answered:
                self._keep(*group)

    def _is_sample(self, first: int, end: int) -> bool:
        """Words that end with a colon, then a few lines behind `>`: no mail was quoted, the writer shows something."""
        above = next((each for each in range(first - 1, -1, -1) if self._shown[each]), -1)
        if above < 0 or not self._shown[above].endswith(":") or self._labels[above] is not Part.NEW:
            return False
        return sum(bool(line) for line in self._shown[first:end]) <= 6

    def _words_below(self, position: int, end: int) -> bool:
        return position < end and self._labels[position] is Part.NEW and bool(self._shown[position])

    def _keep(self, first: int, last: int) -> None:
        for position in range(first, last):
            if not self._introduced[position]:
                self._labels[position] = Part.NEW

    def _mark_rules_before_cuts(self) -> None:
        """A ruler that stands directly above what was cut belongs to that."""
        for position in range(len(self._shown) - 1, -1, -1):
            if self._labels[position] is Part.NEW and self._shown[position]:
                below = self._next[position]
                cut = below < len(self._shown) and self._labels[below] is Part.QUOTE
                if not (cut and is_rule(self._shown[position])):
                    return
                self._labels[position] = Part.QUOTE


def _closes_address(above: str, line: str) -> bool:
    """Whether a line begins with the `>` of an address that the line above began: an attribution that was broken."""
    return line[:1] == ">" and above.rfind("<") > above.rfind(">") and ends_attribution(shown(line))


def _without_leading_blanks(text: str) -> str:
    """Without empty lines at the beginning; the first line keeps its indentation."""
    lines = text.split("\n")
    first = next((position for position, line in enumerate(lines) if line.strip()), len(lines))
    return "\n".join(lines[first:])
