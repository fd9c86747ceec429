//! Whether programs for another platform run here: the kernel hands them to an emulator if one is registered.
//!
//! Found out by trying, with a program of a few instructions in the isolation that the RUNs will have. What
//! `/proc/sys/fs/binfmt_misc` shows is no answer: in a container it is mostly not mounted, and the machine's emulators
//! work all the same.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{ExecFailure, Exit, Isolation, Process, RunError};
use crate::cancel::Cancel;
use crate::oci::Platform;
use crate::plan::Sandbox;
use crate::users::Identity;

const BINFMT_STATUS: &str = "/proc/sys/fs/binfmt_misc/status";
const PROGRAM: &str = "probe";

/// Why no program for a platform runs here.
#[derive(Debug, thiserror::Error)]
pub enum EmulationError {
    /// The kernel knows nobody who could run it, and shows whom it knows.
    #[error("no binfmt_misc handler for it is registered")]
    NotRegistered,
    /// The kernel knows nobody who could run it, and does not show whom it knows.
    #[error("no binfmt_misc handler for it is registered, and binfmt_misc is not mounted")]
    NotMounted,
    /// Handlers are switched off.
    #[error("binfmt_misc is disabled ({BINFMT_STATUS})")]
    Disabled,
    /// The emulator is on the machine, and is looked for in the image.
    #[error(
        "its binfmt_misc handler was registered without the flag F, so the emulator is looked for inside the image"
    )]
    NotFixed,
    /// The emulator ran, and failed.
    #[error("its emulator failed: {0}")]
    Failed(Exit),
    /// Whether it runs could not be found out.
    #[error("try it")]
    Probe(#[source] Box<RunError>),
    /// The program to try could not be written.
    #[error("write a program to try it with")]
    Write(#[source] io::Error),
}

/// Tries whether programs for `platform` run in `isolation`. `root` is an empty directory, and is not empty afterwards.
///
/// Of platforms whose machine code is not known here nothing is found out, and nothing is said.
///
/// # Errors
/// [`EmulationError`].
pub fn probe(
    isolation: &dyn Isolation,
    platform: &Platform,
    root: &Path,
    cancel: &Cancel,
) -> Result<(), EmulationError> {
    let Some(program) = (!runs_natively(platform)).then(|| program_for(platform)).flatten() else {
        return Ok(());
    };
    let path = root.join(PROGRAM);
    fs::write(&path, program).map_err(EmulationError::Write)?;
    fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(EmulationError::Write)?;
    let identity = Identity {
        uid: 0,
        gid: 0,
        groups: vec![0],
        home: "/".into(),
    };
    let argv = [OsString::from(format!("/{PROGRAM}"))];
    let sandbox = Sandbox::default();
    let process = Process::new(root, &argv, &identity, &sandbox);
    match isolation.run(&process, &|_, _| (), cancel) {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(exit) => Err(EmulationError::Failed(exit)),
        Err(RunError::Exec {
            failure: ExecFailure::Format,
            ..
        }) => Err(nobody()),
        Err(RunError::Exec {
            failure: ExecFailure::NoInterpreter,
            ..
        }) => Err(EmulationError::NotFixed),
        Err(error) => Err(EmulationError::Probe(Box::new(error))),
    }
}

/// Whether the machine's processor runs such programs itself. A variant says what a program may use, not what it is.
#[must_use]
pub fn runs_natively(platform: &Platform) -> bool {
    let host = Platform::host();
    let other = |own: &str, too: &str| host.architecture == own && platform.architecture == too;
    platform.os == host.os && (platform.architecture == host.architecture || other("amd64", "386"))
}

/// What the kernel shows of its handlers, when none took the program.
fn nobody() -> EmulationError {
    match fs::read_to_string(BINFMT_STATUS) {
        Ok(status) if status.trim() == "disabled" => EmulationError::Disabled,
        Ok(_) => EmulationError::NotRegistered,
        Err(_) => EmulationError::NotMounted,
    }
}

/// A processor, as far as a program that only ends needs to know it.
struct Machine {
    is_64_bit: bool,
    is_big_endian: bool,
    /// `e_machine` and `e_flags` of an ELF file.
    number: u16,
    flags: u32,
    /// Instructions that call the kernel's exit with 0.
    code: &'static [u8],
}

fn machine(platform: &Platform) -> Option<Machine> {
    let little = |number, flags, code| Machine {
        is_64_bit: true,
        is_big_endian: false,
        number,
        flags,
        code,
    };
    Some(match (platform.os.as_str(), platform.architecture.as_str()) {
        // xor edi, edi; mov eax, 60; syscall
        ("linux", "amd64") => little(62, 0, &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]),
        // mov x0, 0; mov x8, 93; svc 0
        ("linux", "arm64") => little(183, 0, &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]),
        // mov r0, 0; mov r7, 1; svc 0
        ("linux", "arm") => Machine {
            is_64_bit: false,
            ..little(40, 0x0500_0000, &[0, 0, 0xa0, 0xe3, 1, 0x70, 0xa0, 0xe3, 0, 0, 0, 0xef])
        },
        // li a0, 0; li a7, 93; ecall
        ("linux", "riscv64") => little(243, 0, &[0x13, 0x05, 0, 0, 0x93, 0x08, 0xd0, 0x05, 0x73, 0, 0, 0]),
        // li r0, 1; li r3, 0; sc
        ("linux", "ppc64le") => little(21, 2, &[1, 0, 0, 0x38, 0, 0, 0x60, 0x38, 2, 0, 0, 0x44]),
        // lghi r2, 0; svc 1
        ("linux", "s390x") => Machine {
            is_big_endian: true,
            ..little(22, 0, &[0xa7, 0x29, 0, 0, 0x0a, 1])
        },
        _ => return None,
    })
}

/// An executable that ends with 0.
fn program_for(platform: &Platform) -> Option<Vec<u8>> {
    /// Where it is loaded; a multiple of every page size in use.
    const ADDRESS: u64 = 0x40_0000;
    const PAGE: u64 = 0x1_0000;
    const EXECUTABLE: u16 = 2;
    const LOAD: u32 = 1;
    const READ_AND_EXECUTE: u32 = 5;
    let machine = machine(platform)?;
    let mut file = Elf {
        machine: &machine,
        bytes: Vec::new(),
    };
    let (header, segment): (u16, u16) = if machine.is_64_bit { (64, 56) } else { (52, 32) };
    let start = u64::from(header + segment);
    let size = start + machine.code.len() as u64;
    let class = if machine.is_64_bit { 2 } else { 1 };
    let order = if machine.is_big_endian { 2 } else { 1 };
    file.bytes
        .extend([0x7f, b'E', b'L', b'F', class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.half(EXECUTABLE);
    file.half(machine.number);
    file.word(1);
    file.address(ADDRESS + start);
    file.address(u64::from(header));
    file.address(0);
    file.word(machine.flags);
    for half in [header, segment, 1, 0, 0, 0] {
        file.half(half);
    }
    file.word(LOAD);
    if machine.is_64_bit {
        file.word(READ_AND_EXECUTE);
    }
    for address in [0, ADDRESS, ADDRESS, size, size] {
        file.address(address);
    }
    if !machine.is_64_bit {
        file.word(READ_AND_EXECUTE);
    }
    file.address(PAGE);
    file.bytes.extend(machine.code);
    Some(file.bytes)
}

/// Writes numbers in the order and width of a machine.
struct Elf<'m> {
    machine: &'m Machine,
    bytes: Vec<u8>,
}

impl Elf<'_> {
    fn half(&mut self, value: u16) {
        self.bytes.extend(match self.machine.is_big_endian {
            true => value.to_be_bytes(),
            false => value.to_le_bytes(),
        });
    }

    fn word(&mut self, value: u32) {
        self.bytes.extend(match self.machine.is_big_endian {
            true => value.to_be_bytes(),
            false => value.to_le_bytes(),
        });
    }

    #[expect(clippy::cast_possible_truncation, reason = "ours lie below 4 GiB")]
    fn address(&mut self, value: u64) {
        match (self.machine.is_64_bit, self.machine.is_big_endian) {
            (true, true) => self.bytes.extend(value.to_be_bytes()),
            (true, false) => self.bytes.extend(value.to_le_bytes()),
            (false, _) => self.word(value as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_without_help() {
        let host = Platform::host().architecture;
        for (platform, native) in [
            (format!("linux/{host}"), true),
            (format!("linux/{host}/v3"), true),
            ("linux/386".to_owned(), host == "amd64"),
            ("linux/s390x".to_owned(), false),
            (format!("windows/{host}"), false),
        ] {
            assert_eq!(runs_natively(&platform.parse().unwrap()), native, "{platform}");
        }
    }

    /// On this machine, and under the emulators of the package that `scripts/setup` installs.
    #[test]
    fn programs_end_well() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(PROGRAM);
        for (platform, emulator) in [
            (Platform::host().to_string(), "/usr/bin/env"),
            ("linux/amd64".to_owned(), "/usr/bin/qemu-x86_64-static"),
            ("linux/arm64".to_owned(), "/usr/bin/qemu-aarch64-static"),
            ("linux/arm/v7".to_owned(), "/usr/bin/qemu-arm-static"),
            ("linux/riscv64".to_owned(), "/usr/bin/qemu-riscv64-static"),
            ("linux/ppc64le".to_owned(), "/usr/bin/qemu-ppc64le-static"),
            ("linux/s390x".to_owned(), "/usr/bin/qemu-s390x-static"),
        ] {
            let program = program_for(&platform.parse().unwrap());
            let Some(program) = program.filter(|_| Path::new(emulator).exists()) else {
                continue;
            };
            fs::write(&path, program).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            let ended = std::process::Command::new(emulator).arg(&path).status().unwrap();
            assert!(ended.success(), "{platform}: {ended}");
        }
    }

    #[test]
    fn programs_have_the_header_that_handlers_look_for() {
        for (platform, class, order, machine) in [
            ("linux/arm64", 2, 1, [183, 0]),
            ("linux/arm/v7", 1, 1, [40, 0]),
            ("linux/riscv64", 2, 1, [243, 0]),
            ("linux/ppc64le", 2, 1, [21, 0]),
            ("linux/s390x", 2, 2, [0, 22]),
        ] {
            let program = program_for(&platform.parse().unwrap()).unwrap();
            assert_eq!(program[..6], [0x7f, b'E', b'L', b'F', class, order], "{platform}");
            assert_eq!(program[18..20], machine, "{platform}");
        }
        assert!(program_for(&"linux/vax".parse().unwrap()).is_none());
    }
}
