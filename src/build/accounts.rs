//! Users and groups of a rootfs, read from its own files when a step names some.

use super::error::BuildError;
use crate::copy;
use crate::plan::{Owner, Principal};
use crate::rootfs::{Rootfs, RootfsPath};
use crate::users::{Identity, Ownership};

/// passwd and group files are a few kilobytes; a hostile one must not fill the memory.
const FILE_LIMIT: u64 = 8 << 20;

/// `/etc/passwd` and `/etc/group` as they are now; a RUN may have changed them.
#[derive(Debug)]
pub(crate) struct Accounts {
    passwd: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
}

impl Accounts {
    /// Reads both files beneath the root; that they are missing is no error.
    pub(crate) fn read(rootfs: &Rootfs) -> Result<Self, BuildError> {
        let read = |components: [&[u8]; 2]| rootfs.read_small(&RootfsPath::from_components(components), FILE_LIMIT);
        Ok(Self {
            passwd: read([b"etc", b"passwd"])?,
            group: read([b"etc", b"group"])?,
        })
    }

    /// Who a RUN under USER `user` is.
    pub(crate) fn identity(&self, user: Option<&str>) -> Result<Identity, BuildError> {
        Ok(Identity::resolve(user, self.passwd.as_deref(), self.group.as_deref())?)
    }

    /// Whose files `--chown` makes.
    pub(crate) fn owner(&self, owner: &Owner) -> Result<copy::Owner, BuildError> {
        let text = match &owner.group {
            Some(group) => format!("{}:{}", principal(&owner.user), principal(group)),
            None => principal(&owner.user),
        };
        let Ownership { uid, gid } = Ownership::resolve(&text, self.passwd.as_deref(), self.group.as_deref())?;
        Ok(copy::Owner { uid, gid })
    }

    /// Whose directories WORKDIR makes under a USER: as for `--chown`, but who is not known is root, as in BuildKit.
    /// Nobody has run as that user yet, and a RUN that tries will say what is wrong.
    pub(crate) fn owner_or_root(&self, owner: &Owner, warn: &dyn Fn(&str)) -> copy::Owner {
        let find = |text: &str| {
            let found = Ownership::resolve(text, self.passwd.as_deref(), self.group.as_deref());
            found
                .map_err(|error| warn(&format!("{error}; what WORKDIR makes belongs to root instead")))
                .ok()
        };
        let Ownership { uid, gid } = find(&principal(&owner.user)).unwrap_or_default();
        let group = owner
            .group
            .as_ref()
            .and_then(|group| find(&format!("0:{}", principal(group))));
        copy::Owner {
            uid,
            gid: group.map_or(gid, |group| group.gid),
        }
    }
}

fn principal(principal: &Principal) -> String {
    match principal {
        Principal::Id(id) => id.to_string(),
        Principal::Name(name) => name.clone(),
    }
}
