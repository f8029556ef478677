//! A protocol's statuses in HTTP's words, and back.

use http::StatusCode;

/// Statuses of a protocol, and what they are in HTTP.
///
/// A row has statuses of the protocol and statuses of HTTP: the protocol's are the first of HTTP's, and HTTP's are the
/// first of the protocol's. Of rows that name the same status, the first counts. There is a row for 200, which stands for
/// all of 2xx, and one for 500, which stands for what is in no row.
#[derive(Debug)]
pub struct Statuses<T: 'static>(pub &'static [(&'static [T], &'static [u16])]);

impl<T: Copy + PartialEq + Default> Statuses<T> {
    /// What a status of the protocol is in HTTP.
    pub fn to_http(&self, code: T) -> StatusCode {
        let row = self.0.iter().find(|(own, _)| own.contains(&code));
        let http = row.and_then(|(_, http)| StatusCode::from_u16(*http.first()?).ok());
        http.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What a status of HTTP is in the protocol.
    pub fn of_http(&self, status: StatusCode) -> T {
        let code = |wanted| self.0.iter().find(|(_, http)| http.contains(&wanted)).and_then(|(own, _)| own.first());
        let wanted = if status.is_success() { 200 } else { status.as_u16() };
        code(wanted).or_else(|| code(500)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_counts_either_way() {
        const TABLE: Statuses<u8> = Statuses(&[(&[0], &[200]), (&[9, 3], &[500, 404]), (&[1, 2], &[404, 410])]);
        for (own, http) in [(0, 200), (1, 404), (2, 404), (3, 500), (9, 500), (77, 500)] {
            assert_eq!(TABLE.to_http(own), http);
        }
        for (http, own) in [(200, 0), (204, 0), (404, 9), (410, 1), (500, 9), (503, 9)] {
            assert_eq!(TABLE.of_http(StatusCode::from_u16(http).unwrap()), own);
        }
    }
}
