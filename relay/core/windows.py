"""Days and months as budgets know them: UTC, counted from Unix seconds, without a clock or a calendar library."""

from enum import StrEnum
from math import floor

DAY_S = 86_400


class Window(StrEnum):
    """For how long a budget is; also a metric label."""

    DAY = "day"
    MONTH = "month"


def day_of(unix_s: float) -> str:
    """The UTC day of an instant, as `2026-11-25`."""
    year, month, day = _civil(floor(unix_s) // DAY_S)
    return f"{year:04}-{month:02}-{day:02}"


def window_end(window: Window, unix_s: float) -> float:
    """When the window that contains an instant is over and its budget begins anew, in Unix seconds."""
    number = floor(unix_s) // DAY_S
    if window is Window.DAY:
        return float((number + 1) * DAY_S)
    _, month, day = _civil(number)
    following = number + 32 - day  # no month has more than 31 days, so this is in the next one, or the first of it
    while _civil(following)[1] != month % 12 + 1 or _civil(following)[2] != 1:
        following -= 1
    return float(following * DAY_S)


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a day number counted from 1970 (Howard Hinnant, "chrono-compatible date algorithms")."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153  # months from March, so that a leap day is the year's last
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1
