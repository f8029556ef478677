//! What the suite says of each.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringway_api::ProtocolSpec;
use ringway_rpc::{Framed, RpcCodec};
use ringway_testkit::rpc::{Samples, conformance};

use crate::bugs::*;
use crate::samples::samples;

/// What a codec is told, if it is told anything.
fn verdict<C: RpcCodec>(samples: &Samples) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| conformance::<C>(samples))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.unwrap_or_else(|| panic.downcast_ref::<&str>().map_or(String::new(), |text| (*text).to_owned())))
}

macro_rules! caught {
    ($($test:ident: $($bug:ident),+;)*) => {$(
        #[test]
        fn $test() {
            $(
                let told = verdict::<With<{ $bug }>>(&samples());
                assert!(told.is_some(), "{} is not noticed", stringify!($bug));
                println!("{}: {}", stringify!($bug), told.unwrap_or_default());
            )+
        }
    )*};
}

caught! {
    a_wrong_length: SHORT, LONG, LATE_CONTENT;
    a_swallowed_one_way_call: SWALLOWED_ONE_WAY, AWAITED_ONE_WAY, EDITED_ONE_WAY;
    a_lost_edit: LOST_EDIT, LOST_RESPONSE_EDIT, LOST_REMOVAL, LOST_ODD, LOST_CONTENT, LOST_PATH;
    a_truncated_id: CUT_READ, CUT_PATCH, CUT_WRITE, CUT_ERROR, CUT_PONG;
    a_patch_of_more_than_the_id: WIDE_PATCH;
    an_error_that_is_none: MILD_ERROR;
    asking_for_the_wrong_amount: GREEDY, STUCK;
    a_panic_at_a_claimed_length: PANICS;
    wrong_heartbeats: NO_PING, PING_FOR_PONG;
    taking_what_is_not_its_own: TAKES_ALL;
    losing_what_no_field_shows: LOST_TIMEOUT, LOST_STATUS;
    looking_at_what_is_not_there: LOOKS_AHEAD;
    overwriting_others: CLEARS;
}

#[test]
fn what_is_right_passes() {
    assert_eq!(verdict::<With<NONE>>(&samples()), None);
    assert_eq!(verdict::<With<PING_PONG>>(&samples()), None);
    assert_eq!(verdict::<With<BOUND>>(&samples()), None);
    let spartan = Samples { heartbeat: None, goaway: None, sends_goaway: false, one_way: Vec::new(), ..samples() };
    assert_eq!(verdict::<With<SPARTAN>>(&spartan), None);
}

/// What the proxy goes by when it makes connections.
#[test]
fn a_protocol_says_whether_its_connections_are_bound() {
    assert!(ProtocolSpec::of::<Framed<With<BOUND>>>().bound);
    assert!(!ProtocolSpec::of::<Framed<With<NONE>>>().bound);
}

/// A sample whose meaning the codec does not share.
#[test]
fn a_codec_that_reads_something_else() {
    let mut samples = samples();
    samples.requests[0].method.push('s');
    assert!(verdict::<With<NONE>>(&samples).is_some());
}
