//! `ringway explain`, on files and on a running process.

use std::process::Command;

use crate::proxy::{Proxy, Upstream, repository};

/// What it says, and whether it was content with the question.
fn explain(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).arg("explain").args(args).output().unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn example(name: &str, request: &str, more: &[&str]) -> String {
    let path = repository().join("examples").join(name);
    let (good, said) = explain(&[&["-c", path.to_str().unwrap(), "--request", request], more].concat());
    assert!(good, "{said}");
    said
}

#[test]
fn a_request_is_followed_from_the_listener_to_the_hosts() {
    let said = example("routing.yaml", "GET http://shop.example.com/cart", &["-H", "x-canary: yes"]);
    for line in [
        "listener      web (127.0.0.1:10000)",
        "not           route 2 shop {\"prefix\":\"/shop\"}: path is not met",
        "route         5 {\"prefix\":\"/\"}",
        "sent          GET shop.example.com/cart",
        "                x-client: 127.0.0.1",
        "waits         15000 ms for the response; asks again never",
        "cluster       shop: 100.00 % of such requests",
        "host          127.0.0.1:8080 (weight 1)",
    ] {
        assert!(said.lines().any(|said| said == line), "no line `{line}` in\n{said}");
    }
    let said = example("rpc.yaml", "dubbo com.example.Orders/find", &["-H", "version: 1.0.0"]);
    assert!(said.contains("version is not met") && said.contains("cluster       orders-v2: 5.00 %"), "{said}");
}

#[test]
fn filters_say_what_they_would_do() {
    let said = example("filters-http.yaml", "POST http://a/x", &[]);
    assert!(said.contains("filter        csrf: answers 403 (csrf_origin_mismatch)"), "{said}");
    assert!(said.contains("filter        compressor: does not see it"), "{said}");
    assert!(said.ends_with("outcome       403, answered by csrf: Invalid origin\n"), "{said}");
    let json = example("filters-http.yaml", "POST http://a/x", &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["outcome"]["action"], &json["outcome"]["status"]), (&"answered".into(), &403.into()));
}

#[test]
fn what_cannot_be_understood_is_told() {
    let path = repository().join("examples/chains.yaml");
    let path = path.to_str().unwrap();
    for (args, says) in [
        (&["--request", "GET"][..], "write `GET http://host/path`"),
        (&["--request", "GET /path"], "write a URL with a host"),
        (&["--request", "GET ftp://a/"], "the scheme is http or https"),
        (&["--request", "GET http://a/", "-H", "x"], "write `name: value`"),
        (&["--request", "GET http://a/", "--listener", "x"], "there is no listener `x`; there are"),
        (&["--request", "dubbo find"], "write a service and a method"),
    ] {
        let (good, said) = explain(&[&["-c", path], args].concat());
        assert!(!good && said.contains(says) && said.lines().count() == 1, "{args:?}: {said}");
    }
    let (good, said) = explain(&["--admin", "127.0.0.1:1", "--request", "GET http://a/"]);
    assert!(!good && said.contains("admin at 127.0.0.1:1"), "{said}");
}

#[test]
fn a_running_process_explains_with_its_hosts() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start(upstream.address, "");
    let admin = proxy.admin.to_string();
    let (good, said) = explain(&["--admin", &admin, "--request", &format!("GET http://{}/", proxy.web)]);
    assert!(good && said.contains(&format!("host          {} (weight 1, healthy)", upstream.address)), "{said}");
    let (good, said) = explain(&["--admin", &admin, "--request", "GET /nowhere"]);
    assert!(!good && said.contains("write a URL with a host"), "{said}");
}
