//! User, groups and capabilities of the calling *thread*, which is what a child started from it inherits.

use rustix::process::{Gid, Uid};
use rustix::thread::CapabilitySet;

use super::{CallError, Context as _};

/// The capabilities Docker and the runtimes give a container by default, as a bit set.
pub(crate) const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

/// The capability to give up capabilities for good, as a bit set.
pub(crate) const SETPCAP: u64 = 1 << 8;

/// The capability to change one's root, as a bit set.
pub(crate) const SYS_CHROOT: u64 = 1 << 18;

/// Every capability there is, as a bit set.
pub(crate) const ALL_CAPABILITIES: u64 = u64::MAX;

/// The highest capability number the interface can express.
const LAST_CAPABILITY: u32 = 63;

/// Takes every capability outside `allowed` from all programs this thread will execute: the bounding set
/// caps what root gains on exec, an empty inheritable set (which empties the ambient set) the rest.
pub(crate) fn limit_capabilities(allowed: u64) -> Result<(), CallError> {
    for number in 0..=LAST_CAPABILITY {
        if allowed & (1 << number) != 0 {
            continue;
        }
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(capability) {
            // Where it is missing already, nobody needs the permission to drop it.
            Ok(false) => continue,
            // The kernel knows no capability of this number, nor of any higher one.
            Err(rustix::io::Errno::INVAL) => break,
            Ok(true) | Err(_) => {}
        }
        rustix::thread::remove_capability_from_bounding_set(capability)
            .call(|| format!("drop capability {number} from the bounding set"))?;
    }
    let mut sets = rustix::thread::capabilities(None).call(|| "capget".to_owned())?;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets).call(|| "capset with an empty inheritable set".to_owned())
}

/// Makes this thread run as the user for good. Leaving user 0 drops its effective and permitted
/// capabilities too.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), CallError> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    // Groups first: without user 0 there is no permission left to change them.
    rustix::thread::set_thread_groups(&groups).call(|| format!("setgroups({groups:?})"))?;
    let gid = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).call(|| format!("setresgid({})", gid.as_raw()))?;
    let uid = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).call(|| format!("setresuid({})", uid.as_raw()))
}
