//! Writes archives byte by byte, so that they can be wrong in any way.

const BLOCK: usize = 512;

/// One entry with its header; fields are what the header says, true or not.
#[derive(Clone)]
pub(crate) struct Member {
    path: Vec<u8>,
    type_byte: u8,
    content: Vec<u8>,
    size: Option<u64>,
    mode: u32,
    owner: (u64, u64),
    mtime: i64,
    link: Vec<u8>,
    device: (u32, u32),
    magic: [u8; 8],
    names: (&'static [u8], &'static [u8]),
    pax: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(crate) fn member(type_byte: u8, path: impl AsRef<[u8]>) -> Member {
    Member {
        path: path.as_ref().to_vec(),
        type_byte,
        content: Vec::new(),
        size: None,
        mode: 0o644,
        owner: (
            rustix::process::geteuid().as_raw().into(),
            rustix::process::getegid().as_raw().into(),
        ),
        mtime: 1_000_000_000,
        link: Vec::new(),
        device: (0, 0),
        magic: *b"ustar\x0000",
        names: (b"", b""),
        pax: Vec::new(),
    }
}

pub(crate) fn file(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Member {
    Member {
        content: content.as_ref().to_vec(),
        ..member(b'0', path)
    }
}

pub(crate) fn dir(path: impl AsRef<[u8]>) -> Member {
    member(b'5', path).mode(0o755)
}

pub(crate) fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member {
        link: target.as_ref().to_vec(),
        ..member(b'2', path).mode(0o777)
    }
}

pub(crate) fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member {
        link: target.as_ref().to_vec(),
        ..member(b'1', path)
    }
}

pub(crate) fn whiteout(path: impl AsRef<[u8]>) -> Member {
    file(path, "")
}

impl Member {
    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn owner(self, uid: u64, gid: u64) -> Self {
        Self {
            owner: (uid, gid),
            ..self
        }
    }

    pub(crate) fn names(self, uname: &'static [u8], gname: &'static [u8]) -> Self {
        Self {
            names: (uname, gname),
            ..self
        }
    }

    pub(crate) fn mtime(self, mtime: i64) -> Self {
        Self { mtime, ..self }
    }

    pub(crate) fn device(self, major: u32, minor: u32) -> Self {
        Self {
            device: (major, minor),
            ..self
        }
    }

    /// A size in the header that is not that of the content.
    pub(crate) fn size(self, size: u64) -> Self {
        Self {
            size: Some(size),
            ..self
        }
    }

    pub(crate) fn magic(self, magic: &[u8; 8]) -> Self {
        Self { magic: *magic, ..self }
    }

    pub(crate) fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }

    /// The header alone.
    pub(crate) fn header(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put(&mut block[0..100], &self.path);
        octal(&mut block[100..108], self.mode.into());
        number(&mut block[108..116], self.owner.0.cast_signed());
        number(&mut block[116..124], self.owner.1.cast_signed());
        let size = self.size.unwrap_or(self.content.len() as u64);
        number(&mut block[124..136], size.cast_signed());
        number(&mut block[136..148], self.mtime);
        block[156] = self.type_byte;
        put(&mut block[157..257], &self.link);
        block[257..265].copy_from_slice(&self.magic);
        put(&mut block[265..297], self.names.0);
        put(&mut block[297..329], self.names.1);
        if self.magic.starts_with(b"ustar") {
            octal(&mut block[329..337], self.device.0.into());
            octal(&mut block[337..345], self.device.1.into());
        }
        checksum(&mut block);
        block
    }
}

/// An archive in the making.
#[derive(Clone, Default)]
pub(crate) struct Tarball(Vec<u8>);

/// The archive of `members` with its end.
pub(crate) fn tarball(members: impl IntoIterator<Item = Member>) -> Vec<u8> {
    members.into_iter().fold(Tarball::default(), Tarball::add).end()
}

impl Tarball {
    /// Adds a member, behind a PAX header if it has records.
    pub(crate) fn add(mut self, member: Member) -> Self {
        if !member.pax.is_empty() {
            self = self.extended(b'x', &pax_body(&member.pax));
        }
        self.0.extend_from_slice(&member.header());
        self.content(&member.content)
    }

    /// Adds an extended header of any type.
    pub(crate) fn extended(mut self, type_byte: u8, body: &[u8]) -> Self {
        let mut header = member(type_byte, "././@extended");
        header.content = body.to_vec();
        self.0.extend_from_slice(&header.header());
        self.content(body)
    }

    /// GNU's long name (`L`) or link target (`K`).
    pub(crate) fn long(self, type_byte: u8, name: &[u8]) -> Self {
        self.extended(type_byte, &[name, b"\0"].concat())
    }

    /// Adds content, padded to whole blocks.
    pub(crate) fn content(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// Adds bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// What was added so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Two zero blocks.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

/// Writes the checksum of a header.
pub(crate) fn checksum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

pub(crate) fn pax_body(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    records.iter().flat_map(|(key, value)| pax_record(key, value)).collect()
}

fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn put(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}\0");
    field.copy_from_slice(&text.as_bytes()[..field.len()]);
}

/// Octal if it fits, else base-256.
fn number(field: &mut [u8], value: i64) {
    let digits = u32::try_from(field.len() - 1).unwrap();
    if (0..8i64.pow(digits)).contains(&value) {
        return octal(field, value.cast_unsigned());
    }
    let bytes = i128::from(value).to_be_bytes();
    field.copy_from_slice(&bytes[16 - field.len()..]);
    field[0] |= 0x80;
}
