//! Parcel under the conformance suite, with frames by hand.

mod samples;

use ringway_parcel::Parcel;
use ringway_testkit::rpc;

#[test]
fn conforms() {
    rpc::conformance::<Parcel>(&samples::samples());
}

/// What a fuzz target does, with what random bytes rarely find.
#[test]
fn survives_its_own_frames() {
    let samples = samples::samples();
    for sample in &samples.requests {
        rpc::fuzz::<Parcel>(&sample.bytes);
    }
    rpc::fuzz::<Parcel>(&samples.requests.iter().flat_map(|sample| sample.bytes.clone()).collect::<Vec<_>>());
}
