"""Dates in words: where one stands in a text, and which days it means."""

import calendar
import re
from datetime import date, datetime, time, timedelta

FIRST_YEAR = 1990  # an earlier number is more often a count than a year
Days = tuple[date, date]  # the first and the last
MONTHS = "|".join(name for month in range(1, 13) for name in (calendar.month_name[month], calendar.month_abbr[month]))
SEASONS = {
    "spring": 3,
    "summer": 6,
    "autumn": 9,
    "fall": 9,
    "winter": 12,
}  # first months, north of the equator; three each
YEAR = r"(?:19|20)\d\d"
DAY = r"\d{1,2}(?:st|nd|rd|th)?"
PHRASE = (
    rf"\d{{4}}-\d\d(?:-\d\d)?|(?:{DAY}\s+)?(?:{MONTHS})\s+(?:{DAY},?\s+)?{YEAR}|(?:{'|'.join(SEASONS)})\s+{YEAR}"
    rf"|(?:last|this)\s+(?:week|month|year|{MONTHS}|{'|'.join(SEASONS)})|yesterday|today"
    rf"|(?:\d{{1,3}}|an?)\s+(?:day|week|month|year)s?\s+ago|{YEAR}"
)
# 2001: begins a title, 16:9 is a ratio, 3:15 a time, 1,990 and 19.90 are numbers.
DATE = rf"(?:\b(?:taken\s+)?(?:in|on|from|during)\s+)?(?<![\w:./,-])(?P<date>{PHRASE})(?![\w:/'’-]|[.,]\d)"


def is_bare_year(text: str) -> bool:
    """Say whether a text is a number that may be a year, and may be a count."""
    return re.fullmatch(YEAR, text) is not None


def days_of(text: str, today: date) -> Days | None:
    """Return the days that words mean on a day, or None where they are no date.

    A week begins on Monday; "last summer" is the last one that has ended, and "last May" the last that has begun.
    """
    words = text.casefold().split()
    try:
        if is_bare_year(text):
            return date(int(text), 1, 1), date(int(text), 12, 31)
        if words and words[-1] in SEASONS:
            return _season(words[-1], today, ended=words[0] == "last")
        if len(words) == 2 and words[0] in SEASONS:
            return _months(int(words[1]), SEASONS[words[0]], 3)
        if re.fullmatch(r"\d{4}-\d\d", text):
            return _months(int(text[:4]), int(text[5:]), 1)
        return _parsed(re.sub(rf"^(?:last|this)\s+(?={MONTHS})", "", text, flags=re.IGNORECASE), today)
    except ValueError:  # a year or a month that no calendar has
        return None


def _season(name: str, today: date, ended: bool) -> Days:
    """Return the last season of this name that has ended before a day, or has begun by then."""
    years = (_months(today.year - back, SEASONS[name], 3) for back in range(3))
    return next(days for days in years if (days[1] < today if ended else days[0] <= today))


def _months(year: int, month: int, count: int) -> Days:
    """Return a number of months that begin with one."""
    after = year * 12 + month - 1 + count
    return date(year, month, 1), date(after // 12, after % 12 + 1, 1) - timedelta(days=1)


def _parsed(text: str, today: date) -> Days | None:
    from dateparser.date import DateDataParser  # a third of a second, which a query without dates does without

    settings = {"RELATIVE_BASE": datetime.combine(today, time(12)), "PREFER_DATES_FROM": "past"}
    found = DateDataParser(languages=["en"], settings=settings).get_date_data(text)
    if found.date_obj is None:
        return None
    day = found.date_obj.date()
    if found.period == "year":
        return date(day.year, 1, 1), date(day.year, 12, 31)
    if found.period == "month":
        return _months(day.year, day.month, 1)
    if found.period == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=6)
    return day, day
