//! The process's allocator: mimalloc, told to give freed memory back soon.
//!
//! A router's memory goes up and down with its destinations. mimalloc keeps freed pages for a second
//! before the system gets them back; at 200 MB/s that second holds more than the records themselves. The
//! shorter it keeps them, the more are given back only to be wanted again. Measured with 10, 30 and 100 ms:
//! 37, 38 and 43 MiB at a limit of 25 MB; 3.25, 3.08 and 2.55 µs of CPU a record to Firehose. It takes this
//! setting from an environment variable, or through one C function that is not safe beside threads. Setting
//! a variable would mean to start the process anew, so this crate holds the one `unsafe` call of the
//! workspace. Miri cannot run it: it is C.

pub use mimalloc::MiMalloc;

/// mimalloc's number of the option `purge_delay` (`mi_option_purge_delay` in its `mimalloc.h`).
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// How long freed pages are kept, in milliseconds.
const PURGE_DELAY_MS: std::ffi::c_long = 30;
/// What sets the same from outside; it wins.
const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";

/// Sets the allocator up. Call it first in `main`, before any thread is started.
pub fn tune() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    #[expect(unsafe_code, reason = "mimalloc has no safe way to set an option")]
    // SAFETY: the option exists, any number of milliseconds is valid, and no other thread runs yet.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: MiMalloc = MiMalloc;

    #[test]
    fn the_option_is_the_one_meant() {
        // One second is the default of this option and of no other.
        #[expect(unsafe_code, reason = "reads an option of the C library")]
        // SAFETY: the option exists; nothing writes it before `tune` below.
        let before = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(before, 1000);
        tune();
        #[expect(unsafe_code, reason = "reads an option of the C library")]
        // SAFETY: as above; this is the only test.
        let after = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(after, PURGE_DELAY_MS);
    }
}
