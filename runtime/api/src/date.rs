//! Dates as HTTP writes them.

use std::time::{Duration, SystemTime};

/// Writes an IMF-fixdate (RFC 9110, section 5.6.7). Times before 1970 are written as its first second.
pub fn http_date(at: SystemTime, out: &mut Vec<u8>) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The Gregorian calendar counted from 1 March of year 0, so that leap days end their years.
    let z = days + 719_468;
    let era_day = z % 146_097;
    let year_of_era = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12;
    let year = z / 146_097 * 400 + year_of_era + u64::from(month < 2);
    let pair = |number: u64, out: &mut Vec<u8>| {
        out.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
    };
    out.extend_from_slice(DAYS.get((days % 7) as usize).copied().unwrap_or_default().as_bytes());
    out.extend_from_slice(b", ");
    pair(day, out);
    out.push(b' ');
    out.extend_from_slice(MONTHS.get(month as usize).copied().unwrap_or_default().as_bytes());
    out.push(b' ');
    pair(year / 100, out);
    pair(year, out);
    for (separator, part) in [(b' ', second / 3600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.push(separator);
        pair(part, out);
    }
    out.extend_from_slice(b" GMT");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_767_225_599, "Wed, 31 Dec 2025 23:59:59 GMT"),
            (1_767_225_600, "Thu, 01 Jan 2026 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            let mut out = Vec::new();
            http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), date);
        }
    }
}
