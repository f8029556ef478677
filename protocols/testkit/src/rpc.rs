//! Codecs of framed calls: what every [`RpcCodec`] must survive and keep.
//!
//! A codec's author fills [`Samples`] with a few frames and what they mean, and runs [`conformance`]. It reads them cut
//! in every way, truncated, mutated and over limits; writes them under every kind of id; and sends them through
//! [`RpcWorld`], a proxy in memory with the real driver, where heads and contents are edited, calls are cancelled,
//! answers come out of order and connections end. [`fuzz`] does what needs no samples with any bytes.
//!
//! Each check is a function of its own, so that a failing one can be run alone. Random runs print their seed when they
//! fail: see [`seeds`](crate::conform::seeds).

use ringway_rpc::{Mode, RpcCodec};

mod edits;
mod frames;
mod fuzz;
mod life;
mod passing;
mod reading;
mod samples;
mod world;
mod writing;

pub use edits::{
    added_field_arrives, changed_field_arrives, changed_path_arrives_or_is_refused, removed_field_is_gone,
    replaced_content_arrives,
};
pub use frames::{Found, read_all, under_id};
pub use fuzz::{fuzz, read_any};
pub use life::{
    cancel_frees_the_place, drain_finishes_what_is_under_way, goaway_of_the_server_is_heeded, heartbeats_are_answered,
    heartbeats_are_sent, upstream_end_is_an_error_for_every_call,
};
pub use passing::{
    answers_come_in_any_order, ids_go_through, one_way_is_passed_on_and_never_answered, oversized_is_refused,
    untouched_frames_are_the_same,
};
pub use reading::{
    any_bytes_are_survived, any_cut_reads_the_same, lengths_are_consistent, limits_come_before_buffering,
    meaning_is_as_expected, sniffs_its_own_only, truncated_frames_are_no_frames,
};
pub use samples::{RequestSample, ResponseSample, Samples};
pub use world::{Edits, RpcWorld};
pub use writing::{errors_are_answers, ids_survive, own_frames_are_frames, rewritten_frames_mean_the_same};

/// Runs everything.
///
/// # Panics
/// When the codec fails a check.
pub fn conformance<C: RpcCodec>(samples: &Samples) {
    sniffs_its_own_only::<C>(samples);
    meaning_is_as_expected::<C>(samples);
    lengths_are_consistent::<C>(samples);
    any_cut_reads_the_same::<C>(samples);
    truncated_frames_are_no_frames::<C>(samples);
    limits_come_before_buffering::<C>(samples);

    ids_survive::<C>(samples);
    rewritten_frames_mean_the_same::<C>(samples);
    errors_are_answers::<C>(samples);
    own_frames_are_frames::<C>(samples);

    untouched_frames_are_the_same::<C>(samples);
    ids_go_through::<C>(samples);
    one_way_is_passed_on_and_never_answered::<C>(samples);
    oversized_is_refused::<C>(samples);
    if C::MODE != Mode::PingPong {
        answers_come_in_any_order::<C>(samples);
    }

    added_field_arrives::<C>(samples);
    changed_field_arrives::<C>(samples);
    removed_field_is_gone::<C>(samples);
    replaced_content_arrives::<C>(samples);
    changed_path_arrives_or_is_refused::<C>(samples);

    heartbeats_are_answered::<C>(samples);
    heartbeats_are_sent::<C>(samples);
    cancel_frees_the_place::<C>(samples);
    goaway_of_the_server_is_heeded::<C>(samples);
    drain_finishes_what_is_under_way::<C>(samples);
    upstream_end_is_an_error_for_every_call::<C>(samples);

    // Last: what the others find is easier to read.
    any_bytes_are_survived::<C>(samples);
}
