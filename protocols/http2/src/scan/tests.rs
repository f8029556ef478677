use super::*;

fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
    let [_, _, _, _, _, a, b, c] = (length as u64).to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
    frame.resize(HEADER + length, 0xff);
    frame
}

fn scanner() -> Scanner {
    Scanner { first: false, ..Scanner::new(FrameLimits::default(), 0, Time(0)) }
}

#[test]
fn each_kind_has_its_limit() {
    for (kind, flags, length, allowed, flood) in [
        (kind::SETTINGS, 0, 6, 100, "http2_settings_flood"),
        (kind::PING, 0, 8, 1000, "http2_ping_flood"),
        (kind::PRIORITY, 0, 5, 100, "http2_priority_flood"),
        (kind::DATA, 0, 0, 10, "http2_empty_data_flood"),
        (kind::RST_STREAM, 0, 4, 100, "http2_rapid_reset"),
        (kind::WINDOW_UPDATE, 0, 4, FREE_UPDATES, "http2_window_update_flood"),
        (kind::CONTINUATION, 0, 1, 5, "http2_continuation_flood"),
        (0x42, 0, 3, 1000, "http2_unknown_frame_flood"),
    ] {
        let (mut scanner, frame) = (scanner(), frame(kind, flags, length));
        for at in 0..allowed {
            assert_eq!(scanner.scan(&frame, Time(0)), Ok(()), "{flood} {at}");
        }
        assert_eq!(scanner.scan(&frame, Time(0)), Err(breach(flood, code::ENHANCE_YOUR_CALM, 0)));
    }
}

#[test]
fn ordinary_traffic_is_without_limit() {
    let mut scanner = scanner();
    for _ in 0..100_000 {
        for (kind, flags, length) in [
            (kind::HEADERS, 4, 20),
            (kind::DATA, 0, 100),
            (kind::DATA, FLAG, 0),
            (kind::SETTINGS, FLAG, 0),
            (kind::PING, FLAG, 8),
            (kind::WINDOW_UPDATE, 0, 4),
        ] {
            scanner.scan(&frame(kind, flags, length), Time(0)).unwrap();
        }
    }
}

#[test]
fn limits_are_for_a_period() {
    let (mut scanner, ping) = (scanner(), frame(kind::PING, 0, 8));
    for period in 0..3 {
        let now = Time(0) + PERIOD * period;
        for _ in 0..1000 {
            scanner.scan(&ping, now).unwrap();
        }
    }
    scanner.scan(&ping, Time(0) + PERIOD * 2).unwrap_err();
}

#[test]
fn resets_are_measured_by_the_streams_opened() {
    let mut scanner = scanner();
    // Half of many may be reset.
    for _ in 0..1000 {
        scanner.scan(&frame(kind::HEADERS, 5, 10), Time(0)).unwrap();
        scanner.scan(&frame(kind::HEADERS, 5, 10), Time(0)).unwrap();
        scanner.scan(&frame(kind::RST_STREAM, 0, 4), Time(0)).unwrap();
    }
    let more = (0..1000).map(|_| scanner.scan(&frame(kind::RST_STREAM, 0, 4), Time(0)));
    assert!(more.into_iter().any(|verdict| verdict.is_err_and(|breach| breach.details == "http2_rapid_reset")));
}

#[test]
fn frames_are_found_however_they_are_split() {
    let mut bytes = [b"preface", &frame(kind::SETTINGS, 0, 6)[..]].concat();
    for _ in 0..20 {
        bytes.extend(frame(kind::DATA, 0, 7));
        bytes.extend(frame(kind::PING, 0, 8));
    }
    let limits = FrameLimits { ping: 19, ..FrameLimits::default() };
    for size in 1..40 {
        let mut scanner = Scanner::new(limits, 7, Time(0));
        let verdicts: Vec<_> = bytes.chunks(size).map(|part| scanner.scan(part, Time(0))).collect();
        assert_eq!(
            verdicts.iter().find_map(|verdict| verdict.err()).map(|breach| breach.details),
            Some("http2_ping_flood"),
            "{size}"
        );
        let mut scanner = Scanner::new(FrameLimits { ping: 20, ..limits }, 7, Time(0));
        assert!(bytes.chunks(size).all(|part| scanner.scan(part, Time(0)).is_ok()), "{size}");
    }
}

#[test]
fn the_frame_that_breaks_a_rule_is_found() {
    let fine = [frame(kind::SETTINGS, 0, 12), frame(kind::HEADERS, 4, 20)].concat();
    let window = [&frame(kind::SETTINGS, 0, 0)[..3], &[4, 0, 0, 0, 0, 1], &[0, 4, 0x80, 0, 0, 0]].concat();
    let window = [&[0, 0, 6], &window[3..]].concat();
    for (bad, code) in [
        (frame(kind::PING, 0, 7), code::FRAME_SIZE_ERROR),
        (frame(kind::SETTINGS, 0, 7), code::FRAME_SIZE_ERROR),
        (frame(kind::SETTINGS, FLAG, 6), code::FRAME_SIZE_ERROR),
        (frame(kind::GOAWAY, 0, 8), code::PROTOCOL_ERROR),
        (window, code::FLOW_CONTROL_ERROR),
    ] {
        let bytes = [&fine[..], &bad].concat();
        let whole = Scanner::new(FrameLimits::default(), 0, Time(0)).scan(&bytes, Time(0)).unwrap_err();
        assert_eq!((whole.code, whole.at), (code, fine.len()));
        for size in 1..bytes.len() {
            let mut scanner = Scanner::new(FrameLimits::default(), 0, Time(0));
            let mut passed = 0;
            for part in bytes.chunks(size) {
                match scanner.scan(part, Time(0)) {
                    Ok(()) => passed += part.len(),
                    Err(breach) => {
                        assert_eq!(breach.code, code, "{size}");
                        passed += breach.at;
                        break;
                    }
                }
            }
            // Less than the frame, and no less than what is before it.
            assert!((fine.len()..fine.len() + bad.len()).contains(&passed), "{size}: {passed}");
        }
    }
}

#[test]
fn a_connection_begins_with_settings() {
    for (kind, flags) in [(kind::HEADERS, 4), (kind::PING, 0), (kind::SETTINGS, FLAG), (0x42, 0)] {
        let length = if kind == kind::PING { 8 } else { 0 };
        let verdict = Scanner::new(FrameLimits::default(), 0, Time(0)).scan(&frame(kind, flags, length), Time(0));
        assert_eq!(verdict, Err(breach("http2_protocol_error", code::PROTOCOL_ERROR, 0)));
    }
}
