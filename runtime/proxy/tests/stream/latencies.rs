//! What balancers are told of how long hosts take.

use crate::world::{World, address, after, answer};

#[test]
fn a_host_that_fails_at_once_does_not_look_quick() {
    let failing = address("10.0.1.1:80");
    for route in ["timeout: 1s", "timeout: 1s, retry: { on: [reset], attempts: 1 }"] {
        for status in [502, 503, 504, 500] {
            let host = failing.clone();
            let script = move |_, seen: &crate::world::Seen| match seen.host == host {
                true => answer(status, ""),
                false => after(20, 200, ""),
            };
            let world = World::new(route, "lb: peak_ewma", script);
            (0..20).for_each(|_| drop(world.get()));
            let failed = world.seen().iter().filter(|seen| seen.host == failing).count();
            // 500 is an answer: something is wrong with the request, for all that anybody knows.
            let most = if status == 500 { 20 } else { 1 };
            assert!(failed <= most, "{route}, {status}: {failed} of 20");
        }
    }
}
