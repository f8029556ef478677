//! Points of time as text (RFC 3339).

const DAY: i64 = 86_400_000;

/// Milliseconds since 1970, from a time with its offset and at most three digits of fraction.
pub(super) fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, count: usize| -> Option<i64> {
        let part = text.get(from..from + count).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
        part.parse().ok()
    };
    let at = |place: usize, wanted: &[u8]| bytes.get(place).filter(|byte| wanted.contains(byte)).copied();
    at(4, b"-").and(at(7, b"-")).and(at(10, b"Tt")).and(at(13, b":")).and(at(16, b":"))?;
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    let mut rest = 19;
    let mut millis = 0;
    if at(rest, b".").is_some() {
        let count = bytes.iter().skip(rest + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=3).contains(&count) {
            return None;
        }
        millis = digits(rest + 1, count)? * [100, 10, 1].get(count - 1)?;
        rest += 1 + count;
    }
    let offset = match at(rest, b"Zz+-")? {
        b'Z' | b'z' => {
            rest += 1;
            0
        }
        sign => {
            at(rest + 3, b":")?;
            let (hours, minutes) = (digits(rest + 1, 2)?, digits(rest + 4, 2)?);
            rest += 6;
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }
        }
    };
    let within = (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60 && rest == bytes.len();
    let days = days(year, month, day);
    // A day that its month does not have is one of the next month.
    if !within || civil(days) != (year, month, day) {
        return None;
    }
    Some(days * DAY + ((hour * 60 + minute - offset) * 60 + second) * 1000 + millis)
}

/// The text in UTC; `None` outside the years 0 to 9999.
pub(super) fn format(millis: i64) -> Option<String> {
    let (days, within) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    if !(days_before(0)..days_before(10_000)).contains(&days) {
        return None;
    }
    let (year, month, day) = civil(days);
    let (seconds, millis) = (within / 1000, within % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
}

fn days_before(year: i64) -> i64 {
    days(year, 1, 1)
}

/// Days since 1970 in the Gregorian calendar, counted from 1 March of year 0, so that leap days end their years.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = (march + 2) % 12 + 1;
    (era * 400 + year + i64::from(month < 3), month, of_year - (153 * march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (894_621_091_005, "1998-05-08T09:51:31.005Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(format(millis).as_deref(), Some(text));
            assert_eq!(parse(text), Some(millis));
        }
        assert_eq!((format(253_402_300_800_000), format(-62_167_219_200_001)), (None, None));
        assert_eq!((format(i64::MAX), format(i64::MIN)), (None, None));
    }

    #[test]
    fn offsets_and_fractions_are_read_and_nothing_else() {
        for (text, millis) in [
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1969-12-31t18:30:00.5-05:30", Some(500)),
            ("1970-01-01T00:00:00.12z", Some(120)),
            ("1970-01-01T00:00:00", None),
            ("1970-01-01 00:00:00Z", None),
            ("1970-02-29T00:00:00Z", None),
            ("1970-13-01T00:00:00Z", None),
            ("1970-00-01T00:00:00Z", None),
            ("1970-01-00T00:00:00Z", None),
            ("1970-01-01T24:00:00Z", None),
            ("1970-01-01T00:00:60Z", None),
            ("1970-01-01T00:00:00.1234Z", None),
            ("1970-01-01T00:00:00.Z", None),
            ("1970-01-01T00:00:00Z ", None),
            ("1970-01-01T00:00:00+1:00", None),
            ("+970-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00+24:00", None),
            ("", None),
        ] {
            assert_eq!(parse(text), millis, "{text}");
        }
    }
}
