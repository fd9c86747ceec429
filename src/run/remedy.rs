//! What would allow an isolation that was refused: the setting of the pod, the container or the machine.

use std::fs;

use rustix::io::Errno;

use super::RunError;
use crate::sys::CallError;

const PRIVILEGED: &str = "run rbuild as root on the host or in a VM, or in a container with CAP_SYS_ADMIN that may mount (docker run --privileged)";
const SECCOMP: &str = "seccomp profile; set securityContext.seccompProfile.type: Unconfined, or docker run --security-opt seccomp=unconfined";
const APPARMOR: &str = "AppArmor or SELinux profile; set securityContext.appArmorProfile.type: Unconfined, or docker run --security-opt apparmor=unconfined --security-opt label=disable";
const CAPABILITIES: &str = "capabilities; CAP_SETUID, CAP_SETGID and CAP_SETFCAP are needed, which a container has unless securityContext.capabilities drops them";
const CHROOT: &str = "run rbuild as root with CAP_SYS_CHROOT and CAP_MKNOD; docker and Kubernetes give both unless securityContext.capabilities drops them, podman wants --cap-add=MKNOD";
const LIMIT: &str = "the machine's limit of user namespaces; raise the sysctl user.max_user_namespaces";

/// Switches of some distributions that forbid user namespaces: path, the value that forbids, what to do.
const SWITCHES: [(&str, &str, &str); 2] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "the machine forbids user namespaces; set the sysctl kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "the machine's AppArmor forbids user namespaces; set the sysctl kernel.apparmor_restrict_unprivileged_userns=0, or load a profile that allows userns",
    ),
];

/// For namespaces with the privileges of root.
pub(super) fn of_privileged() -> String {
    PRIVILEGED.to_owned()
}

/// For a root without mounts.
pub(super) fn of_chroot() -> String {
    CHROOT.to_owned()
}

/// For namespaces in a user namespace.
pub(super) fn of_user_namespace(refused: &RunError) -> String {
    match refused {
        RunError::Setup(call) => of_namespace_call(call),
        _ => PRIVILEGED.to_owned(),
    }
}

/// For a call on the way into a user namespace.
pub(super) fn of_namespace_call(refused: &CallError) -> String {
    of_call(refused, &Machine::look()).to_owned()
}

/// What a remedy depends on.
struct Machine {
    has_seccomp: bool,
    switch: Option<&'static str>,
}

impl Machine {
    fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let is_set = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
        let switch = SWITCHES.iter().find(|(path, value, _)| is_set(path, value));
        Self {
            has_seccomp: has_seccomp(&status),
            switch: switch.map(|(_, _, remedy)| *remedy),
        }
    }
}

/// Whether a `/proc/<pid>/status` says that a filter is active.
fn has_seccomp(status: &str) -> bool {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

fn of_call(refused: &CallError, machine: &Machine) -> &'static str {
    let is_unshare = refused.call.starts_with("unshare");
    match refused.errno {
        Errno::NOSPC | Errno::USERS if is_unshare => LIMIT,
        Errno::PERM if refused.call.contains("id_map") => CAPABILITIES,
        Errno::PERM | Errno::ACCESS if is_unshare => match machine {
            Machine {
                switch: Some(switch), ..
            } if !machine.has_seccomp => switch,
            _ => SECCOMP,
        },
        Errno::ACCESS => APPARMOR,
        Errno::PERM if machine.has_seccomp => SECCOMP,
        _ => PRIVILEGED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_its_setting() {
        let free = Machine {
            has_seccomp: false,
            switch: None,
        };
        let filtered = Machine {
            has_seccomp: true,
            switch: None,
        };
        let switched = Machine {
            has_seccomp: false,
            switch: Some(SWITCHES[0].2),
        };
        for (call, errno, machine, expected) in [
            ("unshare(CLONE_NEWUSER)", Errno::PERM, &filtered, "seccompProfile"),
            (
                "unshare(CLONE_NEWUSER)",
                Errno::PERM,
                &switched,
                "unprivileged_userns_clone",
            ),
            (
                "unshare(CLONE_NEWUSER)",
                Errno::NOSPC,
                &free,
                "user.max_user_namespaces",
            ),
            (
                "write the uid_map of a new user namespace",
                Errno::PERM,
                &filtered,
                "CAP_SETUID",
            ),
            ("mount tmpfs on /dev (\"\")", Errno::ACCESS, &free, "appArmorProfile"),
            ("mount tmpfs on /dev (\"\")", Errno::PERM, &filtered, "seccompProfile"),
            ("mount tmpfs on /dev (\"\")", Errno::INVAL, &free, "--privileged"),
        ] {
            let refused = CallError {
                call: call.to_owned(),
                errno,
            };
            let remedy = of_call(&refused, machine);
            assert!(remedy.contains(expected), "{call} {errno}: {remedy}");
        }
    }

    #[test]
    fn filters_are_seen() {
        assert!(has_seccomp("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!has_seccomp("Seccomp:\t0\n") && !has_seccomp(""));
    }
}
