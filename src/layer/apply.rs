//! stub
#![allow(missing_docs)]
use crate::cancel::Cancel;
use crate::oci::{Algorithm, DiffId, Digester};
use crate::rootfs::Rootfs;
use crate::snapshot::Fingerprints;
use std::io::Read;

#[derive(Debug, thiserror::Error)]
pub enum ApplyError { #[error("io")] Io(#[from] std::io::Error) }
#[derive(Debug)]
pub struct Applied { pub diff_id: DiffId }
pub struct Applier<'a> { rootfs: &'a Rootfs }
impl<'a> Applier<'a> {
    pub fn new(rootfs: &'a Rootfs, _f: &'a mut Fingerprints, _warn: &'a dyn Fn(&str), _cancel: &'a Cancel) -> Self { Self { rootfs } }
    pub fn apply(&mut self, layer: impl Read + Send) -> Result<Applied, ApplyError> {
        struct Tee<R>(R, Digester);
        impl<R: Read> Read for Tee<R> { fn read(&mut self, b: &mut [u8]) -> std::io::Result<usize> { let n = self.0.read(b)?; self.1.update(&b[..n]); Ok(n) } }
        let mut tee = Tee(flate2::read::MultiGzDecoder::new(layer), Digester::new(Algorithm::Sha256));
        { let mut a = tar::Archive::new(&mut tee); a.set_preserve_permissions(true); a.set_preserve_ownerships(true); a.set_overwrite(true); a.unpack(self.rootfs.host_path())?; }
        std::io::copy(&mut tee, &mut std::io::sink())?;
        Ok(Applied { diff_id: DiffId::new(tee.1.finish()) })
    }
}
