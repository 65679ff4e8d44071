"""The lines with which mail programs introduce what they quote, in many languages: attributions, header blocks, rulers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

LONGEST = 350
"""Characters of a whole attribution; it stands on four lines at most."""
MOST_LINES = 4

_MARKS = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_ADDRESS = re.compile(r"[^\s<>\"'(),;:\[\]]{1,64}@[^\s<>\"'(),;:\[\]]{2,255}")
_BRACKETED = re.compile(r"[<(\[][^\s<>()\[\]]{1,64}@[^\s<>()\[\]]{1,255}[>)\]]")
_TIME = re.compile(r"(?<!\d)\d{1,2}\s?[:.h]\s?\d{2}(?!\d)|\d{1,2}\s?(?:am|pm|uhr)\b|\d{1,2}時|\d{1,2}시")
_DATE = re.compile(
    r"(?:19|20)\d{2}|(?<!\d)\d{1,2}[./-]\d{1,2}[./-](?:\d{2}|\d{4})?|(?<!\d)\d{1,2}\.?\s(?:de\s)?[^\W\d]{3,12}\b|[^\W\d]{3,12}\.?\s\d{1,2}(?!\d)"
    r"|\d{1,2}月\s?\d{1,2}日|\d{1,2}월\s?\d{1,2}일"
)
# fmt: off
_LAST_VERBS = (
    "wrote", "writes", "said", "a écrit", "écrivait", "escribió", "ha escrit", "va escriure", "ha scritto", "scrive", "escreveu",
    "kirjoitti", "napisał", "napisała", "napisał(a)", "napisali", "pisze", "napsal", "napsala", "napsal(a)", "napísal", "napísala",
    "napísal(a)", "a scris", "написал", "написала", "написал(а)", "пишет", "писал", "писал(а)", "написав", "написала(а)", "пише",
    "έγραψε", "yazdı", "şunu yazdı", "写道", "寫道", "写到", "写了", "書きました", "のメール", "님이 작성", "작성", "님이 씀", "כתב", "כתבה",
    "כתב/ה", "كتب", "كتبت", "đã viết", "viết", "menulis", "je napisao", "je napisala", "napisao", "написа", "rašė", "rakstīja", "kirjutas",
    "escribiu", "idatzi du", "skrifaði", "เขียนว่า",
)
_INNER_VERBS = (
    "schrieb", "schreef", "skrev", "írta", "geschrieben hat", "heeft geschreven", "hat geschrieben", "het volgende geschreven",
    "følgende", "napsal", "napisał", "написал", "написал(а)", "a écrit", "wrote",
)
_PRONOUNS = frozenset(("ich", "wir", "ik", "we", "wij", "jeg", "vi", "jag", "i", "you", "he", "she", "they", "je", "nous", "someone"))
_OPENERS = frozenset((
    "on", "am", "le", "el", "il", "em", "op", "den", "dne", "dňa", "dnia", "w", "în", "в", "у", "at", "vào", "pada", "στις", "la", "a",
    "на", "dana", "kl", "från", "von", "from", "de", "da", "af", "fra", "od", "от", "ב", "في", "le:", "date", "---", "----", "-----",
    # days of the week, as programs shorten them
    "mon", "tue", "wed", "thu", "fri", "sat", "sun", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
    "mo", "di", "mi", "do", "fr", "sa", "so", "lun", "mar", "mer", "mié", "jeu", "jue", "gio", "ven", "vie", "sam", "sáb", "sab", "dim",
    "dom", "ma", "ti", "ke", "to", "pe", "su", "po", "út", "st", "čt", "pá", "ne", "pn", "wt", "śr", "czw", "pt", "sob", "nd", "пн", "вт",
    "ср", "чт", "пт", "сб", "вс", "man", "tir", "ons", "tor", "tors", "fre", "lør", "søn", "mån", "tis", "lör", "sön",
))
_WORDS_OF: Mapping[str, tuple[str, ...]] = {
    "from": (
        "from", "von", "de", "da", "van", "fra", "från", "lähettäjä", "od", "feladó", "de la", "от", "от кого", "від", "kimden", "gönderen",
        "από", "发件人", "寄件者", "寄件人", "差出人", "送信者", "보낸 사람", "보낸사람", "מאת", "من", "expéditeur", "remitente", "mittente", "afzender",
        "avsändare", "afsender", "avsender", "dari", "từ", "จาก", "nadawca", "odesílatel", "odosielateľ", "pošiljatelj", "absender", "message de",
    ),
    "date": (
        "sent", "date", "gesendet", "gesendet am", "datum", "envoyé", "envoyé le", "date d'envoi", "enviado", "enviado el", "enviada em",
        "enviado em", "enviada", "enviat", "fecha", "data", "inviato", "inviato il", "verzonden", "verstuurd", "skickat", "sendt", "dato",
        "lähetetty", "päivämäärä", "päiväys", "pvm", "wysłano", "wysłane", "odesláno", "odoslané", "elküldve", "dátum", "küldve", "trimis",
        "trimis la", "отправлено", "дата", "надіслано", "gönderildi", "gönderme tarihi", "tarih", "ημερομηνία", "εστάλη", "στάλθηκε", "发送时间",
        "發送時間", "寄件日期", "发送日期", "日期", "時間", "送信日時", "日時", "日付", "보낸 날짜", "보낸 시간", "보낸날짜", "날짜", "נשלח", "תאריך", "تاريخ",
        "تم الإرسال", "dikirim", "tanggal", "ngày", "đã gửi", "gửi", "message du", "poslano", "изпратено", "ส่งแล้ว", "วันที่",
    ),
    "to": (
        "to", "an", "à", "a", "aan", "til", "till", "vastaanottaja", "do", "komu", "címzett", "către", "catre", "кому", "kime", "alıcı", "kimə",
        "προς", "收件人", "收件者", "宛先", "받는 사람", "받는사람", "אל", "إلى", "para", "per", "kepada", "đến", "tới", "pour", "za", "prima", "до", "ถึง",
    ),
    "cc": (
        "cc", "kopie", "kopia", "kopi", "copie", "copie à", "копия", "копія", "bilgi", "κοιν", "κοινοποίηση", "抄送", "副本", "参照", "참조", "copia",
        "cópia", "másolat", "kopio", "bcc", "עותק", "نسخة", "dw", "udw", "reply-to", "antworten an", "reply to",
    ),
    "subject": (
        "subject", "betreff", "objet", "oggetto", "asunto", "assunto", "onderwerp", "ämne", "emne", "aihe", "temat", "předmět", "predmet", "tárgy",
        "subiect", "тема", "konu", "θέμα", "主题", "主題", "主旨", "件名", "제목", "נושא", "الموضوع", "الموضوع", "perihal", "subjek", "chủ đề", "sujet",
        "tema", "assumpte", "เรื่อง", "относно", "importance", "priority", "attachments", "anlagen",
    ),
}
_RULED_WORDS = (
    "original message", "original mail", "original email", "original-nachricht", "originalnachricht", "originale nachricht",
    "ursprüngliche nachricht", "ursprüngliche e-mail", "urspr. nachricht", "weitergeleitete nachricht", "weitergeleitet", "message d'origine",
    "message original", "courriel original", "message transféré", "mensaje original", "mensaje reenviado", "mensagem original",
    "mensagem encaminhada", "messaggio originale", "messaggio inoltrato", "oorspronkelijk bericht", "origineel bericht",
    "doorgestuurd bericht", "ursprungligt meddelande", "originalmeddelande", "vidarebefordrat", "vidarebefordrat meddelande",
    "oprindelig meddelelse", "original meddelelse", "opprinnelig melding", "videresendt", "videresendt melding", "alkuperäinen viesti",
    "välitetty viesti", "wiadomość oryginalna", "oryginalna wiadomość", "treść przekazanej wiadomości", "původní zpráva",
    "původní e-mail", "pôvodná správa", "eredeti üzenet", "mesaj original", "mesajul original", "исходное сообщение",
    "пересылаемое сообщение", "пересланное сообщение", "оригинальное сообщение", "вихідне повідомлення", "orijinal ileti", "özgün ileti",
    "iletilen mesaj", "αρχικό μήνυμα", "原始邮件", "原邮件", "转发邮件", "原始信件", "原始郵件", "元のメッセージ", "转发的邮件", "轉寄的郵件", "원본 메시지",
    "원본 메일", "전달된 메시지", "הודעה מקורית", "الرسالة الأصلية", "رسالة أصلية", "forwarded message", "forwarded by", "forwarded mail",
    "forward message", "begin forwarded message", "reply message", "reply above this line", "pesan asli", "tin nhắn gốc", "izvorna poruka",
)
# fmt: on
_CLASS_OF = {word: kind for kind, words in _WORDS_OF.items() for word in words}
_VERB_AT_END = re.compile(
    rf"(?:^|[\s>)\],;\d]|(?<=[^\x00-\x7f]))(?:{'|'.join(sorted(map(re.escape, _LAST_VERBS), key=len, reverse=True))})\s*[-—]*\s*[:：]?\s*[-—]*$"
)
_VERB_INSIDE = re.compile(rf"(?:^|\s)(?:{'|'.join(map(re.escape, _INNER_VERBS))})[\s:：]+(\S*)")
_HEADER = re.compile(r"[\s>*_|]{0,8}([^\s:：*_<>@\d][^:：<>@\d]{0,24}?)[\s*_]{0,4}[:：](.*)")
_RULE = re.compile(r"\s{0,8}(?:_{3,}|-{3,}|={3,}|\*{3,}|—{2,}|–{2,}|~{4,}|(?:- ){3,}-?|(?:_ ){3,}_?)\s{0,8}")
_RULED = re.compile(r"[\s>*]{0,8}[-_=—–*~]{2,}\s{0,3}(.{2,120}?)\s{0,3}[-_=—–*~]{2,}\s{0,4}:?\s{0,8}")


def shown(line: str) -> str:
    """A line as labels are decided by: without direction and zero-width marks, blanks collapsed, in small letters."""
    text = line if line.isascii() else unicodedata.normalize("NFC", _MARKS.sub("", line)[: 2 * LONGEST])
    return " ".join(text.lower().split())


def ends_attribution(line: str) -> bool:
    """Whether a line (as `shown` gives it) may be the last one of an attribution: a quick test for most lines."""
    return line.endswith((":", "：", "-", "—")) or bool(_VERB_AT_END.search(line[-60:]))


def attribution_lines(lines: Sequence[str], last: int, *, quote_follows: bool) -> int:
    """How many lines the attribution that ends with `lines[last]` has; 0 where there is none. Lines as `shown` gives them.

    `quote_follows`: the next line that is not empty begins with a quotation mark.
    """
    best, best_score = 0, 0
    for count in range(1, MOST_LINES + 1):
        first = last - count + 1
        if first < 0 or not lines[first]:
            break
        text = " ".join(lines[first : last + 1])
        if len(text) > LONGEST:
            break
        score = _score(text, quote_follows)
        if score > best_score:
            best, best_score = count, score
    return best


def _score(text: str, quote_follows: bool) -> int:
    """How sure it is that this text is an attribution, beginning to end; 0 where it is none."""
    text = text.lstrip("> *-_")
    address, date = _ADDRESS.search(text) is not None, _DATE.search(text) is not None
    time = _TIME.search(text) is not None
    word = text.split(" ", 1)[0].strip(",.:;*\"'")
    opens = word in _OPENERS or word.partition("-")[0] in _OPENERS or word[:1].isdigit()
    at_end = _VERB_AT_END.search(text) is not None
    inside = None if at_end else _VERB_INSIDE.search(text)
    colon = text.endswith((":", "："))
    if inside is not None and (inside[1].strip(",") in _PRONOUNS or not colon):
        inside = None
    sure = address or (date and time)
    verb = (at_end and text[-1:] not in "-—") or inside is not None
    if not (
        (verb and sure)
        or (at_end and quote_follows)
        or (verb and opens and date and quote_follows)
        or (colon and date and time and opens and (quote_follows or _BRACKETED.search(text)))
    ):
        return 0
    return 1 + address + date + time + 2 * (opens and date)


def header_class(line: str) -> str:
    """`from`, `date`, `to`, `cc` or `subject` for a line of a quoted mail's headers (as `shown`); else empty."""
    found = _HEADER.match(line) if ":" in line or "：" in line else None
    return "" if found is None else _CLASS_OF.get(found[1].strip(), "")


def header_block(lines: Sequence[str], first: int) -> int:
    """How many lines from `first` are the headers of a quoted mail, as Outlook writes them; 0 where there are none."""
    classes: set[str] = set()
    last, at, others = first - 1, first, 0
    while at < len(lines) and at - first < 14:
        line = lines[at]
        kind = header_class(line)
        if kind:
            if kind in classes and kind == "from":
                break
            classes.add(kind)
            last, others = at, 0
        else:
            # One line that continues a header, or is empty, may stand between.
            others += 1
            if others > 1 or at == first:
                break
        at += 1
    sure = "from" in classes and len(classes & {"date", "to", "subject"}) >= 2
    return last - first + 1 if sure or {"date", "to", "subject"} <= classes else 0


def is_rule(line: str) -> bool:
    """Whether a line is a ruler of dashes, underscores and the like."""
    return _RULE.fullmatch(line[:200]) is not None


def is_delimiter(line: str) -> bool:
    """Whether a line (as `shown`) announces an original or forwarded mail: `-----Original Message-----`."""
    bare = line.strip("> *-_=—–~:")
    if any(bare == word or (bare.startswith(word) and len(line) - len(bare) >= 4) for word in _RULED_WORDS):
        return line != bare or bare.startswith("begin")
    ruled = _RULED.fullmatch(line[:200])
    if ruled is None:
        return False
    inside = ruled[1]
    return bool(_VERB_AT_END.search(inside)) and bool(_DATE.search(inside) or _ADDRESS.search(inside))


def is_ruled(line: str) -> bool:
    """Whether a line is a few words between dashes: `---- a word ----`."""
    return _RULED.fullmatch(line[:200]) is not None
