//! Tar framing: from bytes to entries with streaming content.
//!
//! Reads v7, ustar, GNU and PAX archives. Strict where readers disagreed with one another to an
//! attacker's profit: the size that frames the content is the one of PAX if there is one, PAX
//! records are split by their length, and an extended header applies to the next real entry, whatever
//! other extended headers come between.

use std::io::{self, BufRead};

use super::entry::{Entry, EntryKind};
use super::header::{BLOCK, BadField, More, TarHeader, is_zero, sparse_extension};
use super::limits;
use super::pax::{self, Pax, PaxError};
use super::sparse::{self, Cursor, Map, Pieces, SparseError};

/// Why a stream is no valid tar.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream cannot be read.
    #[error("cannot read the archive at byte {at}")]
    Io {
        /// Position in the uncompressed stream.
        at: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The stream ends inside a header, an extended header or a file.
    #[error("archive ends too early, at byte {at} in {what}")]
    Truncated {
        /// Position in the uncompressed stream.
        at: u64,
        /// What is incomplete.
        what: String,
    },
    /// A block that should be a header is none.
    #[error("bad tar header at byte {at}: {field} is wrong")]
    Header {
        /// Position in the uncompressed stream.
        at: u64,
        /// The field.
        field: &'static str,
    },
    /// A value that no object can have.
    #[error("archive entry {path} has an invalid {field}")]
    Field {
        /// The entry.
        path: String,
        /// The field.
        field: &'static str,
    },
    /// A type that must not be guessed at.
    #[error("archive entry {path} has the unknown type {type_byte:#04x}")]
    UnknownType {
        /// The entry.
        path: String,
        /// The type byte.
        type_byte: u8,
    },
    /// A PAX header that is wrong.
    #[error("extended header of archive entry {path} is wrong")]
    Pax {
        /// The entry.
        path: String,
        /// What is wrong.
        #[source]
        source: PaxError,
    },
    /// A sparse file that is wrong.
    #[error("sparse map of archive entry {path} is wrong")]
    Sparse {
        /// The entry.
        path: String,
        /// What is wrong.
        #[source]
        source: SparseError,
    },
    /// An extended header that is larger than any path or attribute can be.
    #[error("extended header {path} has {size} bytes (the limit is {})", limits::EXTENDED_HEADER)]
    TooLarge {
        /// The pseudo-name in the header.
        path: String,
        /// Its size.
        size: u64,
    },
}

/// A part of a regular file's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// Where it belongs in the file; what lies between pieces is a hole.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Extended headers that wait for their entry.
#[derive(Debug, Default)]
struct Pending {
    pax: Pax,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_empty() && self.long_path.is_none() && self.long_link.is_none()
    }
}

/// Reads the entries of an archive one after another.
#[derive(Debug)]
pub struct TarReader<R> {
    stream: R,
    /// Position in the stream, without what is lent out.
    at: u64,
    /// Content of the current entry that has not been read.
    left: u64,
    /// Zero bytes after that content.
    padding: u64,
    /// Bytes that the last piece showed and the next call consumes.
    lent: usize,
    map: Map,
    cursor: Cursor,
    ended: bool,
}

impl<R: BufRead> TarReader<R> {
    /// Starts at the first header of `stream`.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            at: 0,
            left: 0,
            padding: 0,
            lent: 0,
            map: Map::whole(0),
            cursor: Cursor::default(),
            ended: false,
        }
    }

    /// The next entry; `None` at the end of the archive. Skips what was not read of the one before.
    ///
    /// # Errors
    /// The stream is no valid tar, or ends too early.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let mut pending = Pending::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                self.ended = true;
                if pending.is_empty() {
                    return Ok(None);
                }
                return Err(self.truncated("an extended header without its entry"));
            };
            match header.type_byte() {
                b'x' => {
                    let body = self.extended_body(&header)?;
                    let added = pending.pax.add(&body);
                    added.map_err(|source| pax_error(&header.path(), source))?;
                }
                // Global headers are checked, not applied: no builder writes one that matters.
                b'g' => {
                    let body = self.extended_body(&header)?;
                    let added = Pax::default().add(&body);
                    added.map_err(|source| pax_error(&header.path(), source))?;
                }
                b'L' => pending.long_path = Some(self.long_name(&header)?),
                b'K' => pending.long_link = Some(self.long_name(&header)?),
                _ => return self.entry(&header, pending).map(Some),
            }
        }
    }

    /// The next part of the current entry's content; `None` after the last.
    ///
    /// # Errors
    /// The stream ends too early.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, TarError> {
        self.give_back();
        let Some((offset, length)) = self.map.locate(&mut self.cursor).filter(|_| self.left > 0) else {
            return Ok(None);
        };
        let at = self.at;
        let available = self.stream.fill_buf().map_err(|source| TarError::Io { at, source })?;
        if available.is_empty() {
            let what = "the content of a file".to_owned();
            return Err(TarError::Truncated { at, what });
        }
        let wanted = length.min(self.left).min(available.len() as u64);
        // At most the length of a slice.
        self.lent = wanted as usize;
        self.left -= wanted;
        self.cursor.advance(wanted);
        let bytes = &available[..self.lent];
        Ok(Some(Piece { offset, bytes }))
    }

    fn entry(&mut self, header: &TarHeader, pending: Pending) -> Result<Entry, TarError> {
        let Pending {
            pax,
            long_path,
            long_link,
        } = pending;
        let own_path = pax.get("path").map(<[u8]>::to_vec).or(long_path);
        let path = own_path.unwrap_or_else(|| header.path());
        let bad_field = |BadField(field)| TarError::Field {
            path: path.escape_ascii().to_string(),
            field,
        };
        let bad_pax = |source| pax_error(&path, source);
        let kind = kind_of(header.type_byte(), &path)?;
        let link = pax.get("linkpath").map(<[u8]>::to_vec).or(long_link);
        let mut entry = Entry {
            kind,
            link: link.unwrap_or_else(|| header.link()),
            mode: header.mode().map_err(bad_field)?,
            uid: id(pax.number("uid").map_err(bad_pax)?, || header.uid(), "uid").map_err(bad_field)?,
            gid: id(pax.number("gid").map_err(bad_pax)?, || header.gid(), "gid").map_err(bad_field)?,
            mtime: match pax.time("mtime").map_err(bad_pax)? {
                Some(mtime) => mtime,
                None => header.mtime().map_err(bad_field)?,
            },
            size: 0,
            device: match kind {
                EntryKind::CharDevice | EntryKind::BlockDevice => header.device().map_err(bad_field)?,
                _ => (0, 0),
            },
            xattrs: pax.xattrs().map_err(bad_pax)?,
            path: Vec::new(),
        };
        let stored = match pax.number("size").map_err(bad_pax)? {
            Some(size) => size,
            None => header.size().map_err(bad_field)?,
        };
        entry.path = path;
        // Other kinds have no content, whatever their size says: so read Go, Python and libarchive.
        if kind == EntryKind::File {
            self.start_content(stored);
            self.sparse_content(header, &pax, &mut entry)?;
            entry.size = self.map.size();
        }
        Ok(entry)
    }

    fn start_content(&mut self, stored: u64) {
        self.left = stored;
        self.padding = padding_of(stored);
        self.map = Map::whole(stored);
        self.cursor = Cursor::default();
    }

    /// Finds the map of a sparse file, which may be part of its content.
    fn sparse_content(&mut self, header: &TarHeader, pax: &Pax, entry: &mut Entry) -> Result<(), TarError> {
        let bad_pax = |path: &[u8], source| pax_error(path, source);
        let map = if header.type_byte() == b'S' {
            Some(self.old_gnu_map(header, entry)?)
        } else if pax.get("GNU.sparse.major").is_some() {
            let size = pax.number("GNU.sparse.realsize").map_err(|e| bad_pax(&entry.path, e))?;
            let pieces = self.map_in_content(pax, entry)?;
            Some((pieces, size.unwrap_or(self.left)))
        } else if let Some(size) = pax.number("GNU.sparse.size").map_err(|e| bad_pax(&entry.path, e))? {
            Some((pieces_in_records(pax, entry)?, size))
        } else {
            None
        };
        if let Some(name) = pax.get("GNU.sparse.name") {
            entry.path = name.to_vec();
        }
        if let Some((pieces, size)) = map {
            let checked = Map::new(pieces, size, self.left);
            self.map = checked.map_err(|source| sparse_error(entry, source))?;
        }
        if self.map.size() > limits::FILE_SIZE {
            let path = entry.display_path();
            return Err(TarError::Field { path, field: "size" });
        }
        Ok(())
    }

    /// The map in a GNU header and the blocks right after it, which do not count as content.
    fn old_gnu_map(&mut self, header: &TarHeader, entry: &Entry) -> Result<(Pieces, u64), TarError> {
        let bad = |BadField(field)| TarError::Field {
            path: entry.display_path(),
            field,
        };
        let (mut pieces, size, mut more) = header.sparse().map_err(bad)?;
        while more == More::Follows {
            let block = self.block("a sparse map")?;
            let (further, next) = sparse_extension(&block).map_err(bad)?;
            pieces.extend(further);
            more = next;
            if pieces.len() > limits::SPARSE_PIECES {
                return Err(sparse_error(entry, SparseError::TooMany));
            }
        }
        Ok((pieces, size))
    }

    /// The map of format 1.0: decimal lines at the start of the content, padded to whole blocks.
    fn map_in_content(&mut self, pax: &Pax, entry: &Entry) -> Result<Pieces, TarError> {
        let malformed = || sparse_error(entry, SparseError::Malformed);
        let version = (pax.get("GNU.sparse.major"), pax.get("GNU.sparse.minor"));
        if version != (Some(&b"1"[..]), Some(&b"0"[..])) {
            return Err(malformed());
        }
        let mut lines = Lines::default();
        let count = loop {
            if let Some(count) = lines.next_number().map_err(|()| malformed())? {
                break count;
            }
            self.add_block(&mut lines, entry)?;
        };
        if count > limits::SPARSE_PIECES as u64 {
            return Err(sparse_error(entry, SparseError::TooMany));
        }
        let mut numbers = Vec::new();
        while (numbers.len() as u64) < count * 2 {
            match lines.next_number().map_err(|()| malformed())? {
                Some(number) => numbers.push(number),
                None => self.add_block(&mut lines, entry)?,
            }
        }
        Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    fn add_block(&mut self, lines: &mut Lines, entry: &Entry) -> Result<(), TarError> {
        if self.left < BLOCK as u64 {
            return Err(sparse_error(entry, SparseError::Malformed));
        }
        let block = self.block("a sparse map")?;
        self.left -= BLOCK as u64;
        lines.add(&block);
        Ok(())
    }

    fn extended_body(&mut self, header: &TarHeader) -> Result<Vec<u8>, TarError> {
        let path = || header.path().escape_ascii().to_string();
        let bad = |BadField(field)| TarError::Field { path: path(), field };
        let size = header.size().map_err(bad)?;
        if size > limits::EXTENDED_HEADER {
            return Err(TarError::TooLarge { path: path(), size });
        }
        // The limit fits a usize.
        let mut body = vec![0; size as usize];
        self.read_exact(&mut body, "an extended header")?;
        self.padding = padding_of(size);
        Ok(body)
    }

    fn long_name(&mut self, header: &TarHeader) -> Result<Vec<u8>, TarError> {
        let mut name = self.extended_body(header)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    /// The next header; `None` at a zero block or a clean end of the stream.
    fn header(&mut self) -> Result<Option<TarHeader>, TarError> {
        let at = self.at;
        if self
            .stream
            .fill_buf()
            .map_err(|source| TarError::Io { at, source })?
            .is_empty()
        {
            return Ok(None);
        }
        let block = self.block("a header")?;
        if is_zero(&block) {
            return Ok(None);
        }
        let header = TarHeader::parse(&block).map_err(|BadField(field)| TarError::Header { at, field })?;
        Ok(Some(header))
    }

    fn block(&mut self, what: &str) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0; BLOCK];
        self.read_exact(&mut block, what)?;
        Ok(block)
    }

    fn read_exact(&mut self, out: &mut [u8], what: &str) -> Result<(), TarError> {
        let mut filled = 0;
        while filled < out.len() {
            let at = self.at;
            let available = self.stream.fill_buf().map_err(|source| TarError::Io { at, source })?;
            let length = available.len().min(out.len() - filled);
            if length == 0 {
                return Err(self.truncated(what));
            }
            out[filled..filled + length].copy_from_slice(&available[..length]);
            filled += length;
            self.stream.consume(length);
            self.at += length as u64;
        }
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        self.give_back();
        let mut rest = self.left.saturating_add(self.padding);
        self.left = 0;
        self.padding = 0;
        while rest > 0 {
            let at = self.at;
            let available = self.stream.fill_buf().map_err(|source| TarError::Io { at, source })?;
            let length = rest.min(available.len() as u64);
            if length == 0 {
                return Err(self.truncated("the content of a file"));
            }
            // At most the length of a slice.
            self.stream.consume(length as usize);
            self.at += length;
            rest -= length;
        }
        Ok(())
    }

    fn give_back(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        self.stream.consume(lent);
        self.at += lent as u64;
    }

    fn truncated(&self, what: &str) -> TarError {
        TarError::Truncated {
            at: self.at,
            what: what.to_owned(),
        }
    }
}

/// Text that arrives block by block and is read number by number.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    start: usize,
}

impl Lines {
    fn add(&mut self, block: &[u8; BLOCK]) {
        self.text.drain(..self.start);
        self.start = 0;
        self.text.extend_from_slice(block);
    }

    /// The number on the next line, `None` if the line is not complete.
    fn next_number(&mut self) -> Result<Option<u64>, ()> {
        let rest = &self.text[self.start..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            // No number is longer than 20 digits.
            return if rest.len() > 20 { Err(()) } else { Ok(None) };
        };
        let number = pax::decimal(&rest[..length]).ok_or(())?;
        self.start += length + 1;
        Ok(Some(number))
    }
}

fn kind_of(type_byte: u8, path: &[u8]) -> Result<EntryKind, TarError> {
    Ok(match type_byte {
        // The first tars had no type for directories.
        0 if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => {
            return Err(TarError::UnknownType {
                path: path.escape_ascii().to_string(),
                type_byte,
            });
        }
    })
}

/// An owner: 32 bits, of which all ones means "leave as it is" to `chown`.
fn id(pax: Option<u64>, header: impl FnOnce() -> Result<u64, BadField>, field: &'static str) -> Result<u32, BadField> {
    let id = match pax {
        Some(id) => id,
        None => header()?,
    };
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or(BadField(field))
}

/// The map of formats 0.0 (repeated records) and 0.1 (one list).
fn pieces_in_records(pax: &Pax, entry: &Entry) -> Result<Pieces, TarError> {
    if let Some(list) = pax.get("GNU.sparse.map") {
        return sparse::pairs(list).map_err(|source| sparse_error(entry, source));
    }
    let malformed = || sparse_error(entry, SparseError::Malformed);
    let mut pieces = Vec::new();
    let mut offset = None;
    for (key, value) in pax.records() {
        match key {
            b"GNU.sparse.offset" => offset = Some(pax::decimal(value).ok_or_else(malformed)?),
            b"GNU.sparse.numbytes" => {
                let length = pax::decimal(value).ok_or_else(malformed)?;
                pieces.push((offset.take().ok_or_else(malformed)?, length));
            }
            _ => {}
        }
    }
    Ok(pieces)
}

const fn padding_of(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn pax_error(path: &[u8], source: PaxError) -> TarError {
    TarError::Pax {
        path: path.escape_ascii().to_string(),
        source,
    }
}

fn sparse_error(entry: &Entry, source: SparseError) -> TarError {
    TarError::Sparse {
        path: entry.display_path(),
        source,
    }
}
