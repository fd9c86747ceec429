//! Content digests and the identities made of them.
//!
//! `Digest`, `DiffId`, `ChainId` and `ImageId` are distinct types on purpose: mixing the digest of
//! a compressed blob with that of its uncompressed tar is the classic mistake of this field.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// Hash functions the image specification registers (descriptor.md, "Registered algorithms").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    /// SHA-256, 64 hexadecimal digits.
    Sha256,
    /// SHA-512, 128 hexadecimal digits.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// Digest of the bytes of a blob as stored or sent, in the form `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// Bytes past the algorithm's length stay zero, so that derived equality is right.
    bytes: [u8; 64],
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:` part.
    #[error("digest {0:?} has no algorithm (expected sha256:<64 hex digits>)")]
    NoAlgorithm(String),
    /// The algorithm is none that we can verify.
    #[error("digest {0:?} uses an unsupported algorithm (sha256 and sha512 are supported)")]
    Unsupported(String),
    /// Wrong length, upper case, or not hexadecimal.
    #[error("digest {text:?} must have {expected} lower-case hexadecimal digits after the colon")]
    Malformed {
        /// The text as given.
        text: String,
        /// How many digits the algorithm needs.
        expected: usize,
    },
}

impl Digest {
    /// Hashes `bytes` with SHA-256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digester = Digester::new(Algorithm::Sha256);
        digester.update(bytes);
        digester.finish()
    }

    /// The hash function.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits after the colon. They are the blob's file name in an image layout.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.raw().iter().fold(String::with_capacity(128), |mut hex, byte| {
            // Writing to a `String` cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The hash as bytes, 32 or 64 of them.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len()]
    }

    /// The first 12 digits, for people to read.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Self {
        let mut bytes = [0; 64];
        bytes[..raw.len()].copy_from_slice(raw);
        Self { algorithm, bytes }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::NoAlgorithm(text.to_owned()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Unsupported(text.to_owned())),
        };
        let malformed = || DigestError::Malformed {
            text: text.to_owned(),
            expected: algorithm.len() * 2,
        };
        if hex.len() != algorithm.len() * 2 {
            return Err(malformed());
        }
        let mut raw = Vec::with_capacity(algorithm.len());
        for pair in hex.as_bytes().chunks_exact(2) {
            let (high, low) = (nibble(pair[0]), nibble(pair[1]));
            raw.push(high.zip(low).map(|(h, l)| h << 4 | l).ok_or_else(malformed)?);
        }
        Ok(Self::from_raw(algorithm, &raw))
    }
}

/// Lower case only: the grammar of the image specification has no upper-case digits.
const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes a stream piece by piece.
#[derive(Clone)]
pub struct Digester(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Digester {
    /// Starts an empty hash.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Starts a hash that can be compared with `expected`.
    #[must_use]
    pub fn like(expected: &Digest) -> Self {
        Self::new(expected.algorithm)
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Ends the hash.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(hash) => Digest::from_raw(Algorithm::Sha256, &hash.finalize()),
            State::Sha512(hash) => Digest::from_raw(Algorithm::Sha512, &hash.finalize()),
        }
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(..)")
    }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Digest);

        impl $name {
            /// Marks `digest` as this kind of identity; the caller knows what was hashed.
            #[must_use]
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// The plain digest.
            #[must_use]
            pub const fn digest(&self) -> &Digest {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

identity! {
    /// Digest of a layer's tar before compression; what `rootfs.diff_ids` lists.
    DiffId
}
identity! {
    /// Identity of a stack of layers in order (image-spec config.md, "Layer ChainID").
    ChainId
}
identity! {
    /// Digest of the image config.
    ImageId
}

impl ChainId {
    /// The chain of `diff_ids`, bottom layer first; `None` without layers.
    #[must_use]
    pub fn of(diff_ids: &[DiffId]) -> Option<Self> {
        let (first, rest) = diff_ids.split_first()?;
        Some(rest.iter().fold(Self(first.0), |chain, next| {
            Self(Digest::of(format!("{chain} {next}").as_bytes()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn displays_what_it_parsed() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(digest, Digest::of(b""));
        assert_eq!(digest.short(), "e3b0c44298fc");
    }

    #[test]
    fn refuses_everything_else() {
        let long = format!("{EMPTY}0");
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for text in [
            "",
            "e3b0c442",
            "sha256:",
            "sha256:../../etc/passwd",
            "sha256:e3b0",
            &long,
            &upper,
            "blake3:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn sha512_has_128_digits() {
        let mut digester = Digester::new(Algorithm::Sha512);
        digester.update(b"");
        let digest = digester.finish();
        assert_eq!(digest.hex().len(), 128);
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }

    /// The recurrence of image-spec config.md, with independently computed values.
    #[test]
    fn chain_id_follows_the_recurrence() {
        let a = DiffId::new(Digest::of(b"a"));
        let b = DiffId::new(Digest::of(b"b"));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]).unwrap().digest(), a.digest());
        let expected = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(ChainId::of(&[a, b]).unwrap().digest(), &expected);
    }
}
