//! Requests that two programs could read differently: each must be refused, with nothing behind it taken for another.

use ringway_testkit::TestHandler;

use crate::world::Server;

/// What a smuggler hides behind the first request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn refused_heads_get_their_status_and_the_connection_ends() {
    for (head, status, details) in [
        // Content-Length against Transfer-Encoding, both ways around.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked",
            400,
            "chunked_and_content_length",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0",
            400,
            "chunked_and_content_length",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
            400,
            "chunked_and_content_length",
        ),
        // Transfer-Encoding dressed up.
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked", 400, "invalid_transfer_encoding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity", 400, "invalid_transfer_encoding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked", 501, "unknown_transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", 501, "unknown_transfer_coding"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            501,
            "unknown_transfer_coding",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            400,
            "invalid_transfer_encoding",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked", 400, "invalid_transfer_encoding"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x",
            400,
            "invalid_transfer_encoding",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,", 400, "invalid_transfer_encoding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:", 400, "invalid_transfer_encoding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"", 400, "invalid_transfer_encoding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1", 400, "invalid_transfer_encoding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked", 400, "invalid_field_name"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked", 400, "invalid_field_value"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked", 400, "invalid_field_name"),
        ("POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked", 400, "invalid_field_name"),
        ("POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked", 400, "invalid_field_value"),
        ("POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked", 400, "bare_lf"),
        ("POST / HTTP/1.1\r\nHost: a\r\nX: y\0Transfer-Encoding: chunked", 400, "invalid_field_value"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer\x00-Encoding: chunked", 400, "invalid_field_name"),
        // Content-Length dressed up.
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nContent-Length: 6", 400, "repeated_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nContent-Length: 5", 400, "repeated_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6, 6", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +6", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x6", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6 6", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6.0", 400, "invalid_content_length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent\u{b2}Length: 6", 400, "invalid_field_name"),
        // Request lines.
        ("GET  / HTTP/1.1\r\nHost: a", 400, "invalid_first_line"),
        ("GET /  HTTP/1.1\r\nHost: a", 400, "invalid_version"),
        ("GET\t/ HTTP/1.1\r\nHost: a", 400, "invalid_first_line"),
        (" GET / HTTP/1.1\r\nHost: a", 400, "invalid_first_line"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a", 400, "invalid_first_line"),
        ("\nGET / HTTP/1.1\r\nHost: a", 400, "invalid_first_line"),
        ("GET / HTTP/1.1 \r\nHost: a", 400, "invalid_line_end"),
        ("GET / HTTP/1.1\nHost: a", 400, "bare_lf"),
        ("GET / HTTP/1.1\rHost: a", 400, "invalid_line_end"),
        ("GET / http/1.1\r\nHost: a", 400, "invalid_version"),
        ("GET / HTTP/1.2\r\nHost: a", 505, "unsupported_version"),
        ("GET / HTTP/2.0\r\nHost: a", 505, "unsupported_version"),
        ("GET / HTTP/11.1\r\nHost: a", 400, "invalid_version"),
        ("GET /\r\nHost: a", 400, "invalid_first_line"),
        ("GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked", 426, "http_1_0"),
        ("G\"T / HTTP/1.1\r\nHost: a", 400, "invalid_first_line"),
        ("GET x HTTP/1.1\r\nHost: a", 400, "invalid_target"),
        ("GET * HTTP/1.1\r\nHost: a", 400, "invalid_target"),
        ("GET /a#b HTTP/1.1\r\nHost: a", 400, "invalid_target"),
        ("GET /\u{c3}\u{a9} HTTP/1.1\r\nHost: a", 400, "invalid_target"),
        ("GET http://u@b/ HTTP/1.1\r\nHost: a", 400, "invalid_host"),
        ("GET http:///x HTTP/1.1\r\nHost: a", 400, "invalid_host"),
        ("GET ftp://b/ HTTP/1.1\r\nHost: a", 400, "invalid_target"),
        ("GET https://b/ HTTP/1.1\r\nHost: a", 421, "https_in_the_clear"),
        ("CONNECT b HTTP/1.1\r\nHost: b", 400, "invalid_target"),
        ("CONNECT /x HTTP/1.1\r\nHost: b", 400, "invalid_host"),
        ("CONNECT b:x HTTP/1.1\r\nHost: b", 400, "invalid_host"),
        ("CONNECT b: HTTP/1.1\r\nHost: b", 400, "invalid_target"),
        ("CONNECT u@b:443 HTTP/1.1\r\nHost: b", 400, "invalid_host"),
        ("CONNECT b:443 HTTP/1.1\r\nHost: b\r\nContent-Length: 3", 400, "content_in_connect"),
        ("CONNECT b:443 HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked", 400, "content_in_connect"),
        // Host.
        ("GET / HTTP/1.1", 400, "missing_host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a", 400, "repeated_host"),
        ("GET / HTTP/1.1\r\nHost: a, b", 400, "invalid_host"),
        ("GET / HTTP/1.1\r\nHost: a b", 400, "invalid_host"),
        ("GET / HTTP/1.1\r\nHost: a/b", 400, "invalid_host"),
        ("GET / HTTP/1.1\r\nHost: a@b", 400, "invalid_host"),
        ("GET / HTTP/1.1\r\nHost: a:80x", 400, "invalid_host"),
        ("GET / HTTP/1.1\r\nHost:", 400, "invalid_host"),
        ("GET http://b/ HTTP/1.1\r\nHost: a b", 400, "invalid_host"),
        ("GET http://b/ HTTP/1.1", 400, "missing_host"),
        // The rest.
        ("GET / HTTP/1.1\r\nHost: a\r\nNo colon", 400, "invalid_field_name"),
        ("GET / HTTP/1.1\r\nHost: a\r\n: empty", 400, "invalid_field_name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tfolded", 400, "invalid_field_name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f", 400, "invalid_field_value"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: \"x\"", 400, "invalid_connection_option"),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 1", 417, "unknown_expectation"),
    ] {
        let mut server = Server::start(TestHandler::fixed("never"));
        // Latin-1, so that a byte above 0x7f is one byte.
        let bytes: Vec<u8> = format!("{head}\r\n\r\n{HIDDEN}").chars().map(|c| c as u32 as u8).collect();
        let answer = server.round(bytes);
        assert_eq!(Server::statuses(&answer), [status], "{head:?} {:?}", server.log.borrow().refused);
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(server.control.has_ended(), "and closes: {head:?}");
        let log = server.log.borrow();
        assert_eq!((log.refused.len(), log.requests.len()), (1, 0), "{head:?}");
        assert_eq!(log.refused[0].details, details, "{head:?}");
    }
}

#[test]
fn harmless_oddities_are_served() {
    for head in [
        "\r\nGET / HTTP/1.1\r\nHost: a",
        "GET / HTTP/1.1\r\nHOST:a",
        "GET / HTTP/1.1\r\nHost: \t a \t",
        "GET / HTTP/1.1\r\nHost: a\r\nX:",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}",
        "GET /?q=[a]|{b} HTTP/1.1\r\nHost: a",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0000",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: ,, keep-alive ,",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a/b/c",
        "M-SEARCH / HTTP/1.1\r\nHost: a",
    ] {
        let mut server = Server::start(TestHandler::fixed(""));
        let bytes: Vec<u8> = format!("{head}\r\n\r\n{HIDDEN}").chars().map(|c| c as u32 as u8).collect();
        assert_eq!(Server::statuses(&server.round(bytes)), [200, 200], "{head:?}");
    }
}

#[test]
fn limits_are_exact() {
    let request = |padding: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(padding));
    let base = request(0).len();
    for (padding, status) in [((60 << 10) - base, 200), ((60 << 10) - base + 1, 431)] {
        let mut server = Server::start(TestHandler::fixed(""));
        assert_eq!(Server::statuses(&server.round(request(padding))), [status]);
    }
    for (fields, status) in [(99, 200), (100, 431)] {
        let mut server = Server::start(TestHandler::fixed(""));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(fields));
        assert_eq!(Server::statuses(&server.round(many)), [status]);
    }
    let mut server = Server::start(TestHandler::fixed(""));
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(70_000));
    assert_eq!(Server::statuses(&server.round(long)), [414]);
}
