use http::Method;
use proptest::prelude::*;

use super::*;

fn matcher(path: PathMatch, case_sensitive: bool, methods: Vec<Method>) -> RouteMatcher {
    RouteMatcher {
        path,
        case_sensitive,
        methods,
        headers: Vec::new(),
        labels: Vec::new(),
        query: Vec::new(),
        more: None,
    }
}

fn route(matcher: RouteMatcher, clusters: Clusters) -> Route {
    let action = RouteAction::Forward(Forward {
        clusters,
        cluster_not_found: http::StatusCode::SERVICE_UNAVAILABLE,
        fallback: None,
        timeout: None,
        call_timeout: None,
        upgrades: Box::default(),
        tunnel_idle_timeout: None,
        rewrite: None,
        hash_policy: Box::default(),
        auto_host_rewrite: false,
        retry: None,
        mirrors: Box::default(),
        tell_timeout: false,
    });
    Route { name: None, filters: None, action, edits: [None, None, None], metadata: None, matcher }
}

fn asked(head: &RequestHead) -> Asked<'_> {
    Asked { head, source: None, random: 0 }
}

fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["a", "b", "A", "ab"], 0..4).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn any_matcher() -> impl Strategy<Value = RouteMatcher> {
    let methods = prop_oneof![3 => Just(Vec::new()), 1 => Just(vec![Method::POST])];
    (0..4, any_path(), any::<bool>(), methods).prop_map(|(kind, path, case, methods)| {
        let kind = match kind {
            0 => PathMatch::Prefix(path),
            1 => PathMatch::Exact(path),
            2 => PathMatch::Segments(path.trim_end_matches('/').to_owned()),
            _ => {
                let insensitive = if case { "" } else { "(?i)" };
                PathMatch::Regex(regex::bytes::Regex::new(&format!("{insensitive}^(?:{path}.?)$")).unwrap(), path)
            }
        };
        matcher(kind, case, methods)
    })
}

proptest! {
    /// The index finds what trying every route in order finds.
    #[test]
    fn the_first_match_wins(matchers in prop::collection::vec(any_matcher(), 0..40), paths in prop::collection::vec(any_path(), 1..20), post in any::<bool>()) {
        let routes = matchers
            .into_iter()
            .map(|matcher| route(matcher, Clusters::One(0)))
            .collect();
        let host = VirtualHost::new(None, routes);
        for path in paths {
            let method = if post { Method::POST } else { Method::GET };
            let head = RequestHead::new(method, "a", &format!("{path}?q=/x"));
            let naive = host.routes.iter().position(|route| route.matcher.matches(asked(&head), path.as_bytes()));
            prop_assert_eq!(host.find(asked(&head)), naive, "{}", path);
        }
    }

    /// Shares follow the weights, and weight 0 is never picked.
    #[test]
    fn weights_are_shares(random in any::<u64>()) {
        let shares = [(0, 7), (1, 8), (4, 9), (4, 10)].map(|(end, cluster)| {
            Weighted { end, cluster, edits: None, metadata: None }
        });
        let route = route(matcher(PathMatch::Prefix("/".into()), true, Vec::new()), Clusters::Weighted(Box::new(shares)));
        let (expected, at) = if random < u64::MAX / 4 + 1 { (8, 1) } else { (9, 2) };
        let head = RequestHead::default();
        let picked = route.forward().unwrap().pick(&head, random);
        prop_assert_eq!(picked, Picked::Cluster(expected, Some(at)));
    }
}

fn present(name: &str) -> FieldMatcher {
    FieldMatcher { name: name.to_owned(), condition: Condition::Present, invert: false, missing_is_empty: false }
}

proptest! {
    /// What people are told is what requests are routed by.
    #[test]
    fn a_route_has_an_unmet_condition_unless_it_matches(
        mut matcher in any_matcher(),
        path in any_path(),
        wants in prop::collection::vec(any::<bool>(), 6),
        has in prop::collection::vec(any::<bool>(), 6),
    ) {
        if wants[0] {
            matcher.headers.push(present("x-a"));
        }
        if wants[1] {
            matcher.labels.push(Label { names: Label::GROUP, wanted: "g".into() });
        }
        if wants[2] {
            matcher.query.push(present("q"));
        }
        if wants[3] {
            let cookies = if wants[4] { vec![present("c")] } else { Vec::new() };
            let sources = if wants[5] { vec!["10.0.0.0/8".parse().unwrap()] } else { Vec::new() };
            matcher.more = Some(Box::new(More { cookies, grpc: false, sources, fraction: Some(u64::from(u32::MAX / 2)) }));
        }
        let mut head = RequestHead::default();
        let query = if has[2] { "?q" } else { "" };
        head.set_path_and_query(format!("{path}{query}").as_bytes()).unwrap();
        for (field, value) in [("x-a", "1"), (Label::GROUP[1], "g"), ("cookie", "c=1")].iter().zip(&has).filter(|(_, has)| **has).map(|(field, _)| field) {
            head.headers.append(field, value.as_bytes()).unwrap();
        }
        let source = Some(if has[5] { "10.1.1.1" } else { "11.1.1.1" }.parse().unwrap());
        let random = if has[4] { 0 } else { u64::from(u32::MAX) };
        let asked = Asked { head: &head, source, random };
        prop_assert_eq!(matcher.unmet(asked, head.path()).is_none(), matcher.matches(asked, head.path()));
    }
}
