use std::time::Duration;

use ringway_api::Body;
use ringway_filters::{IpAccess, LocalRateLimit};
use serde_json::json;

use crate::site::{End, Site};
use crate::world::{field, options_error};

#[test]
fn a_bucket_is_shared_by_workers_and_fills_again() {
    let options = json!({ "token_bucket": { "max_tokens": 3, "tokens_per_fill": 1, "fill_interval": "100ms" } });
    let sites = Site::among::<LocalRateLimit>(options.clone(), 2);
    let statuses: Vec<_> = (0..5).map(|at| sites[at % 2].status(&[])).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    sites[0].sim.advance(Duration::from_millis(100));
    assert_eq!((sites[1].status(&[]), sites[0].status(&[])), (200, 429));
    let sum = |name: &str| sites.iter().map(|site| site.stat(name)).sum::<i64>();
    assert_eq!((sum("enabled"), sum("ok"), sum("rate_limited"), sum("enforced")), (7, 4, 3, 3));
    // The same bucket goes on in a new configuration, another one starts full.
    let mut with_headers = options;
    with_headers["x_ratelimit_headers"] = json!(true);
    assert_eq!(sites[0].replaced(with_headers).status(&[]), 429);
    assert_eq!(sites[0].replaced(json!({ "token_bucket": { "max_tokens": 1 } })).status(&[]), 200);
}

#[test]
fn responses_say_what_is_left() {
    let options = json!({
        "token_bucket": { "max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "1500ms" },
        "x_ratelimit_headers": true,
        "status": 503,
        "response_headers": { "x-why": "slow down" },
        "rate_limited_as_resource_exhausted": true,
    });
    let site = Site::of::<LocalRateLimit>(options);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut visit = site.visit(&[]);
        let status = visit.go().status();
        let head = visit.answer(Body::Empty).head;
        let text = |name: &str| field(&head.headers, name).unwrap_or("-").to_owned();
        let [limit, left, reset] = ["limit", "remaining", "reset"].map(|name| text(&format!("x-ratelimit-{name}")));
        assert_eq!(field(&head.headers, "x-envoy-ratelimited").is_some(), status != 200);
        seen.push(format!("{status} {limit} {left} {reset} {}", text("x-why")));
    }
    assert_eq!(seen, ["200 2 1 2 -", "200 2 0 3 -", "503 2 0 3 slow down"]);
}

#[test]
fn refusals_are_flagged_and_can_be_tried_first() {
    let bucket = json!({ "max_tokens": 1, "fill_interval": "1h" });
    let site = Site::of::<LocalRateLimit>(json!({ "token_bucket": bucket, "enforced": 0 }));
    assert_eq!((site.status(&[]), site.status(&[])), (200, 200));
    assert_eq!((site.stat("rate_limited"), site.stat("enforced")), (1, 0));
    let site = Site::of::<LocalRateLimit>(json!({ "token_bucket": bucket, "enabled": 0 }));
    assert_eq!((site.status(&[]), site.status(&[]), site.stat("enabled")), (200, 200, 0));
    let options = json!({ "token_bucket": bucket, "rate_limited_as_resource_exhausted": true });
    let site = Site::of::<LocalRateLimit>(options);
    site.ask(&[]);
    let mut visit = site.visit(&[]);
    let End::Reply(reply) = visit.go() else { panic!("not refused") };
    assert_eq!((visit.flags.to_string().as_str(), reply.grpc_status), ("RL", Some(8)));
}

#[test]
fn descriptors_have_buckets_of_their_own() {
    let bucket = |tokens: u32| json!({ "max_tokens": tokens, "fill_interval": "1h" });
    let options = json!({
        "token_bucket": bucket(9),
        "always_consume_default": false,
        "descriptors": [
            { "entries": [{ "header": "x-user" }, { "remote_address": true }], "token_bucket": bucket(1) },
            { "entries": [{ "path": "/slow" }, { "header": "x-plan", "value": "free" }], "token_bucket": bucket(2) },
        ],
        "max_dynamic_descriptors": 8,
    });
    let mut site = Site::of::<LocalRateLimit>(options);
    let user = |name| [("x-user", name)];
    assert_eq!((site.status(&user("a")), site.status(&user("a")), site.status(&user("b"))), (200, 429, 200));
    site.client("192.0.2.77");
    assert_eq!((site.status(&user("a")), site.status(&user("a"))), (200, 429));
    site.client("/run/x.sock");
    assert_eq!((site.status(&user("a")), site.status(&user("a"))), (200, 429));
    let slow = |plan| site.visit_path("/slow?x", &[("x-plan", plan)]).go().status();
    assert_eq!([slow("free"), slow("free"), slow("free"), slow("paid")], [200, 200, 429, 200]);
    assert_eq!((0..9).filter(|_| site.status(&[]) == 200).count(), 8, "descriptors' requests took none of these");
    for at in 0..20 {
        assert_eq!(site.status(&[("x-user", at.to_string().as_str())]), 200, "a new user has tokens");
    }
    assert!(site.stat("descriptors_evicted") >= 12);
}

#[test]
fn options_of_rate_limits_are_checked() {
    let bucket = json!({ "max_tokens": 1 });
    for (options, says) in [
        (json!({}), "`token_bucket`, `descriptors` or both"),
        (json!({ "token_bucket": { "max_tokens": 0 } }), "token_bucket: max_tokens"),
        (json!({ "token_bucket": bucket, "status": 200 }), "status: 200"),
        (json!({ "token_bucket": bucket, "max_dynamic_descriptors": 0 }), "max_dynamic_descriptors"),
        (json!({ "token_bucket": bucket, "response_headers": { "a b": "" } }), "response_headers"),
        (json!({ "descriptors": [{ "entries": [], "token_bucket": bucket }] }), "descriptors[0]: entries"),
        (
            json!({ "descriptors": [{ "entries": [{}], "token_bucket": bucket }] }),
            "descriptors[0]: entries[0]: exactly",
        ),
    ] {
        let error = options_error::<LocalRateLimit>(options.clone()).unwrap();
        assert!(error.contains(says), "{options}: {error}");
    }
}

#[test]
fn clients_are_let_in_by_address() {
    let mut site = Site::of::<IpAccess>(json!({ "allow": ["10.0.0.0/8", "2001:db8::/32"], "deny": ["10.1.0.0/16"] }));
    for (client, status) in [
        ("10.2.3.4", 200),
        ("10.1.3.4", 403),
        ("::ffff:10.1.3.4", 403),
        ("2001:db8::1", 200),
        ("192.0.2.2", 403),
        ("/run/x.sock", 403),
    ] {
        site.client(client);
        assert_eq!(site.status(&[]), status, "{client}");
    }
    assert_eq!((site.stat("allowed"), site.stat("denied"), site.stat("shadow_denied")), (2, 4, 0));

    let mut site = Site::of::<IpAccess>(json!({ "deny": ["192.0.2.0/24"], "dry_run": true }));
    assert_eq!(site.status(&[]), 200);
    site.client("/run/x.sock");
    assert_eq!(site.status(&[]), 200);
    assert_eq!((site.stat("allowed"), site.stat("denied"), site.stat("shadow_denied")), (1, 0, 1));
    for (options, says) in [
        (json!({}), "`allow`, `deny` or both"),
        (json!({ "deny": ["10.0.0.1/8"] }), "deny: `10.0.0.1/8`"),
        (json!({ "allow": ["x"] }), "allow: `x`"),
    ] {
        assert!(options_error::<IpAccess>(options).unwrap().contains(says));
    }
}
