//! How the C library finds the addresses of hosts.

/// Has host names looked up in `/etc/hosts` and DNS alone from now on, whatever `/etc/nsswitch.conf` comes to say: its
/// other services are shared objects, which the C library would load into this process from wherever they are found.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate wraps the call")]
pub(crate) fn use_hosts_and_dns() {
    use std::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    let (database, services): (&CStr, &CStr) = (c"hosts", c"files dns");
    // SAFETY: both are strings that live for ever; the call copies what it needs. It fails only for a database that
    // does not exist, or without memory.
    let _failed = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
}

/// Other C libraries have no services to choose from.
#[cfg(not(target_env = "gnu"))]
pub(crate) const fn use_hosts_and_dns() {}
