//! A check by gRPC's health checking protocol: `grpc.health.v1.Health/Check`.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};

use super::CheckFailure;
use super::dial::Dial;
use super::http::{HttpConn, plain};

/// Bytes of an answer, which needs seven.
const MOST_CONTENT: usize = 4096;
/// The field `status` of `HealthCheckResponse`.
const SERVING: u64 = 1;

/// What is asked.
pub(super) struct GrpcProbe {
    pub(super) service: String,
    pub(super) authority: String,
    pub(super) scheme: &'static str,
}

impl GrpcProbe {
    /// Asks once. A connection that may be used again is left in `kept`.
    pub(super) async fn check(&self, dial: &Dial, kept: &mut Option<HttpConn>) -> Result<(), CheckFailure> {
        let mut reused = kept.take().filter(HttpConn::is_open);
        loop {
            let was_idle = reused.is_some();
            let mut conn = match reused.take() {
                Some(conn) => conn,
                None => HttpConn::open(dial, true).await?,
            };
            let response = match conn.send(self.request()?).await {
                Ok(response) => response,
                // The host has closed it meanwhile, as it may.
                Err(_) if was_idle => continue,
                Err(error) => return Err(CheckFailure::Network(plain(&error))),
            };
            if response.status() != http::StatusCode::OK {
                return Err(CheckFailure::Unhealthy(format!("answered {}", response.status().as_u16())));
            }
            let head = response.headers().clone();
            let mut body = response.into_body();
            let (mut content, mut trailers) = (Vec::new(), HeaderMap::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| CheckFailure::Network(plain(&error)))?;
                match frame.into_data() {
                    Ok(data) if content.len() + data.len() <= MOST_CONTENT => content.extend_from_slice(&data),
                    Ok(_) => return Err(CheckFailure::Unhealthy("the answer is too long".into())),
                    Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
                }
            }
            if conn.is_open() {
                *kept = Some(conn);
            }
            return judge(&head, &trailers, &content);
        }
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, CheckFailure> {
        Request::post(format!("{}://{}/grpc.health.v1.Health/Check", self.scheme, self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "Ringway/HC")
            .body(Full::new(message(&self.service)))
            .map_err(|error| CheckFailure::Network(format!("cannot ask: {error}")))
    }
}

/// `HealthCheckRequest { service }` in a gRPC message.
fn message(service: &str) -> Bytes {
    let mut field = Vec::with_capacity(service.len() + 6);
    if !service.is_empty() {
        // Field 1, length-delimited.
        field.push(0x0a);
        let mut left = service.len();
        while left >= 0x80 {
            field.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        field.push(left as u8);
        field.extend_from_slice(service.as_bytes());
    }
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(&field);
    message.into()
}

fn judge(head: &HeaderMap, trailers: &HeaderMap, content: &[u8]) -> Result<(), CheckFailure> {
    let unhealthy = |reason: String| Err(CheckFailure::Unhealthy(reason));
    // A call that fails at once has its status in the head.
    match trailers.get("grpc-status").or_else(|| head.get("grpc-status")).map(|status| status.as_bytes()) {
        Some(b"0") => {}
        Some(status) => return unhealthy(format!("answered gRPC status {}", String::from_utf8_lossy(status))),
        None => return unhealthy("answered without a gRPC status".into()),
    }
    let serving = match content.split_first_chunk::<5>() {
        Some(([0, length @ ..], message)) if u32::from_be_bytes(*length) as usize == message.len() => status(message),
        _ => None,
    };
    match serving {
        Some(SERVING) => Ok(()),
        Some(2) => unhealthy("answered NOT_SERVING".into()),
        Some(3) => unhealthy("answered SERVICE_UNKNOWN".into()),
        Some(other) => unhealthy(format!("answered serving status {other}")),
        None => unhealthy("answered with something that is no HealthCheckResponse".into()),
    }
}

/// The field `status` of a `HealthCheckResponse`, 0 if it is not there.
fn status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(message("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(message("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = message(&"x".repeat(300));
        assert_eq!(long.get(..8).unwrap(), [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 2]);
    }

    #[test]
    fn answers_are_read_strictly() {
        let fine = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
        let none = HeaderMap::new();
        let serving = [0, 0, 0, 0, 2, 0x08, 1];
        assert_eq!(judge(&none, &fine, &serving), Ok(()));
        assert_eq!(judge(&none, &fine, &[0, 0, 0, 0, 7, 0x12, 1, b'x', 0x18, 5, 0x08, 1]), Ok(()), "more fields");
        assert!(judge(&none, &none, &serving).is_err());
        let bad: [&[u8]; 7] = [
            &[0, 0, 0, 0, 2, 0x08, 2],
            &[0, 0, 0, 0, 0],
            &[],
            &[1, 0, 0, 0, 2, 0x08, 1],
            &[0, 0, 0, 0, 3, 0x08, 1],
            &[0, 0, 0, 0, 1, 0x08],
            &[0, 0, 0, 0, 2, 0x0a, 9],
        ];
        for content in bad {
            assert!(matches!(judge(&none, &fine, content), Err(CheckFailure::Unhealthy(_))), "{content:?}");
        }
    }
}
