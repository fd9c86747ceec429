//! The vocabulary of container images: digests, references, descriptors, manifests, configs.
//!
//! Values only; nothing here touches the disk or the network. A digest is over bytes, so whatever
//! was received keeps its raw form ([`Raw`]) and is never serialised again to learn its identity.

mod annotations;
mod choice;
mod config;
mod descriptor;
mod digest;
mod manifest;
mod platform;
mod reference;

pub use annotations::{Annotated, AnnotationError, Annotations, Notes};
pub use choice::rank;
pub use config::{ConfigError, ContainerConfig, HealthCheck, History, ImageConfig, RootFs};
pub use descriptor::{Compression, Descriptor, LayerFormat, MediaTypeExt};
pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError, Digester, ImageId};
pub use manifest::{Document, Index, Manifest, ManifestError, ManifestFormat, Raw};
pub use oci_spec::image::MediaType;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
