//! `START_TIME(..)`: the part of strftime that logs use, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use super::escape::{push_decimal, push_padded};

/// A compiled time format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeFormat(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Year,
    YearOfCentury,
    Month,
    MonthName {
        full: bool,
    },
    Day {
        pad: u8,
    },
    DayOfYear,
    WeekdayName {
        full: bool,
    },
    Hour,
    Hour12,
    HalfDay,
    Minute,
    Second,
    /// So many digits of the fraction of the second.
    Fraction(u32),
    /// Seconds since 1970.
    Epoch,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl TimeFormat {
    /// `2026-01-31T12:34:56.789Z`
    pub(super) fn rfc3339() -> Self {
        // The text is one that `parse` accepts, which a test proves by reading a time back.
        Self::parse("%Y-%m-%dT%H:%M:%S.%3fZ").unwrap_or(Self(vec![Part::Epoch]))
    }

    /// Reads a format. The error is the byte at which it stops making sense, and why.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.char_indices();
        while let Some((at, c)) = rest.next() {
            if c != '%' {
                literal.push(c);
                continue;
            }
            let composed = match rest.next().map(|(_, c)| c) {
                Some('%') => {
                    literal.push('%');
                    continue;
                }
                Some('T') => "%H:%M:%S",
                Some('F') => "%Y-%m-%d",
                Some('D') => "%m/%d/%y",
                Some('R') => "%H:%M",
                Some('Z') => "UTC",
                Some('z') => "+0000",
                Some(c) => {
                    let part = Part::of(c, rest.as_str()).ok_or_else(|| (at, unknown(c)))?;
                    if c.is_ascii_digit() {
                        rest.next();
                    }
                    end_literal(&mut parts, &mut literal);
                    parts.push(part);
                    continue;
                }
                None => return Err((at, "the time format ends in a lone `%`; write `%%` for the character".into())),
            };
            end_literal(&mut parts, &mut literal);
            parts.extend(Self::parse(composed)?.0);
        }
        end_literal(&mut parts, &mut literal);
        Ok(Self(parts))
    }

    /// Appends the time; what was before 1970 counts as 1970.
    pub(super) fn render(&self, time: SystemTime, out: &mut Vec<u8>) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
        let date = Date::of_day(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Year => push_padded(out, date.year, 4, b'0'),
                Part::YearOfCentury => push_padded(out, date.year % 100, 2, b'0'),
                Part::Month => push_padded(out, date.month, 2, b'0'),
                Part::MonthName { full } => push_name(out, &MONTHS, date.month - 1, *full),
                Part::Day { pad } => push_padded(out, date.day, 2, *pad),
                Part::DayOfYear => push_padded(out, date.day_of_year, 3, b'0'),
                Part::WeekdayName { full } => push_name(out, &DAYS, date.weekday, *full),
                Part::Hour => push_padded(out, hour, 2, b'0'),
                Part::Hour12 => push_padded(out, (hour + 11) % 12 + 1, 2, b'0'),
                Part::HalfDay => out.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
                Part::Minute => push_padded(out, minute, 2, b'0'),
                Part::Second => push_padded(out, second, 2, b'0'),
                Part::Fraction(digits) => {
                    push_padded(out, (nanos / 10_u32.pow(9 - digits)).into(), *digits as usize, b'0');
                }
                Part::Epoch => push_decimal(out, seconds),
            }
        }
    }
}

impl Part {
    /// The part for the letter after `%`; `rest` is what follows it.
    fn of(c: char, rest: &str) -> Option<Self> {
        Some(match c {
            'Y' => Self::Year,
            'y' => Self::YearOfCentury,
            'm' => Self::Month,
            'b' => Self::MonthName { full: false },
            'B' => Self::MonthName { full: true },
            'd' => Self::Day { pad: b'0' },
            'e' => Self::Day { pad: b' ' },
            'j' => Self::DayOfYear,
            'a' => Self::WeekdayName { full: false },
            'A' => Self::WeekdayName { full: true },
            'H' => Self::Hour,
            'I' => Self::Hour12,
            'p' => Self::HalfDay,
            'M' => Self::Minute,
            'S' => Self::Second,
            's' => Self::Epoch,
            'f' => Self::Fraction(9),
            '1'..='9' if rest.starts_with('f') => Self::Fraction(c.to_digit(10)?),
            _ => return None,
        })
    }
}

/// A day of the Gregorian calendar.
struct Date {
    year: u64,
    /// 1 to 12
    month: u64,
    /// 1 to 31
    day: u64,
    /// 1 to 366
    day_of_year: u64,
    /// From Sunday, 0
    weekday: u64,
}

impl Date {
    /// The day that many days after 1970-01-01. Years are counted from March, so that a leap day is a year's last.
    fn of_day(days: u64) -> Self {
        /// Days from 0000-03-01 to 1970-01-01.
        const TO_EPOCH: u64 = 719_468;
        const PER_400_YEARS: u64 = 146_097;
        let shifted = days + TO_EPOCH;
        let (era, in_era) = (shifted / PER_400_YEARS, shifted % PER_400_YEARS);
        let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
        let from_march = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let day = from_march - (153 * month_from_march + 2) / 5 + 1;
        let (month, next_year) =
            if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
        let year = era * 400 + year_of_era + next_year;
        let leap = u64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
        let day_of_year = if next_year == 1 { from_march - 306 + 1 } else { from_march + 31 + 28 + leap + 1 };
        Self { year, month, day, day_of_year, weekday: (days + 4) % 7 }
    }
}

fn push_name(out: &mut Vec<u8>, names: &[&str], at: u64, full: bool) {
    let name = usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default();
    out.extend_from_slice(if full { name } else { name.get(..3).unwrap_or(name) }.as_bytes());
}

fn unknown(c: char) -> String {
    format!(
        "`%{c}` is not of the time format; there are %Y %y %m %b %B %d %e %j %a %A %H %I %p %M %S %T %F %D %R %s %f %1f..%9f %z %Z"
    )
}

fn end_literal(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal).into()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn show(format: &str, seconds: u64, nanos: u32) -> String {
        let mut out = Vec::new();
        TimeFormat::parse(format).unwrap().render(UNIX_EPOCH + Duration::new(seconds, nanos), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_days() {
        let default = |seconds, nanos| {
            let mut out = Vec::new();
            TimeFormat::rfc3339().render(UNIX_EPOCH + Duration::new(seconds, nanos), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(default(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(default(951_782_400, 7_999_999), "2000-02-29T00:00:00.007Z");
        assert_eq!(default(1_767_225_599, 999_000_000), "2025-12-31T23:59:59.999Z");
        assert_eq!(show("%a %d %b %Y %j", 951_782_400, 0), "Tue 29 Feb 2000 060");
        assert_eq!(
            show("%A, %B %e %y|%T|%F|%D|%R", 1_783_036_805, 0),
            "Friday, July  3 26|00:00:05|2026-07-03|07/03/26|00:00"
        );
        assert_eq!(show("%j", 1_798_675_200, 0), "365");
        assert_eq!(show("%s.%3f %f %9f %1f %%Y %z %Z", 12, 34_567_890), "12.034 034567890 034567890 0 %Y +0000 UTC");
        assert_eq!((show("%I%p", 0, 0), show("%I%p", 13 * 3600, 0)), ("12AM".into(), "01PM".into()));
    }

    #[test]
    fn days_follow_each_other() {
        let mut last = Date::of_day(0);
        for day in 1..200_000 {
            let date = Date::of_day(day);
            assert_eq!(date.weekday, (last.weekday + 1) % 7);
            let next_month = if last.month == 12 { (last.year + 1, 1) } else { (last.year, last.month + 1) };
            if date.day == 1 {
                assert_eq!((date.year, date.month), next_month);
                assert!(last.day >= 28 && last.day <= 31);
            } else {
                assert_eq!((date.year, date.month, date.day), (last.year, last.month, last.day + 1));
            }
            assert_eq!(date.day_of_year, if (date.month, date.day) == (1, 1) { 1 } else { last.day_of_year + 1 });
            last = date;
        }
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(TimeFormat::parse("%Y-%Q").unwrap_err().0, 3);
        assert!(TimeFormat::parse("%Y-%Q").unwrap_err().1.contains("%Q"));
        assert_eq!(TimeFormat::parse("ab%").unwrap_err().0, 2);
        assert!(TimeFormat::parse("%0f").is_err());
        assert!(TimeFormat::parse("%3q").is_err());
    }
}
