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
