//! Operands of COPY and ADD after expansion: owners, modes, destinations.

/// `--chown`, or the USER for WORKDIR. Names are looked up in the rootfs by whoever executes the step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Before the colon.
    pub user: Principal,
    /// After it; without one, the primary group of a named user, or the same number as a numeric user.
    pub group: Option<Principal>,
}

/// A user or a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// A number; `root` is 0 without a lookup.
    Id(u32),
    /// A name in the rootfs's passwd or group file.
    Name(String),
}

/// `--chmod`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chmod {
    /// The mode itself, at most 07777; also given to created parents.
    Octal(u32),
    /// Changes computed from each entry's own mode; not given to created parents.
    Symbolic(Vec<ModeChange>),
}

/// One `who operator permissions` of a symbolic mode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModeChange {
    /// Mask of the classes meant: 0o4700 for `u`, 0o2070 for `g`, 0o1007 for `o`.
    pub who: u32,
    /// `+`, `-` or `=`.
    pub operator: ModeOperator,
    /// What is added, removed or set.
    pub permissions: Permissions,
}

/// `+`, `-` or `=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModeOperator {
    /// `+`
    Add,
    /// `-`
    Remove,
    /// `=`
    Set,
}

/// The right side of a symbolic mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permissions {
    /// Bits of `rwxst`, in every class; `conditional_execute` is `X`.
    Bits {
        /// `r`, `w`, `x` in all three classes, setuid, setgid and sticky.
        mask: u32,
        /// `X`: execute for directories and for what somebody can execute already.
        conditional_execute: bool,
    },
    /// `u`, `g` or `o`: that class's bits, as a shift (6, 3 or 0).
    CopyOf(u32),
}
