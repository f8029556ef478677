//! What the allocator of the process can be asked for.

/// Has mimalloc return memory to the system that the calling thread has freed. Where another allocator is in use it
/// does nothing of note. Takes up to milliseconds after much was freed; for a worker that has gone quiet
/// ([`CoreConfig::on_rest`](crate::CoreConfig::on_rest)).
#[allow(unsafe_code, reason = "a foreign function")]
pub fn release_heap() {
    // SAFETY: may be called from any thread at any time; it frees what nobody has.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
